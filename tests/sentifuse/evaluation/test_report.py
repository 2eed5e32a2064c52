"""Tests of the HTML report: what stands on it, and that a real browser shows it without a network."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import evaluate, explained, report, slices
from sentifuse.evaluation.gallery import Answer, SampleCard
from sentifuse.evaluation.report import Findings
from sentifuse.metrics import calibration
from sentifuse.metrics.scores import COMPARED
from tools.browser import Browser

pytestmark = pytest.mark.pipeline

LABELS = ("negative", "neutral", "positive")
# One transparent pixel.
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SCALE = evaluate.Scale(IntervalOptions(level=0.95, resamples=200), bins=10, seed=1)
DUPLICATES = {
    "groups": 7,
    "samples": 15,
    "samples_by_link": {"image_file": 2, "near_identical_image": 6, "text": 11},
    "label_agreement": {"image_file": None, "near_identical_image": 0.5, "text": 0.75},
    "groups_with_different_labels": 3,
    "twins_in_train": {
        "ungrouped_split": {"val": {"with_twin": 4}, "test": {"with_twin": 5}},
        "this_split": {"val": {"with_twin": 0}, "test": {"with_twin": 0}},
    },
    "groups_with_unlabelled": 1,
}
FAILURES: dict[str, Any] = {
    "oracle": {
        "text_or_image": {"accuracy": 0.85, "low": 0.75, "high": 0.92},
        "text_or_image_or_model": {"accuracy": 0.9, "low": 0.8, "high": 0.96},
        "by_luck": 0.81,
    },
    "twins_in_train": {"text": {"samples": 0}, "any": {"samples": 0}},
}
HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [0.9, 0.7, 0.5],
        "val_loss": [0.9, 0.8, 0.85],
        "val_accuracy": [0.5, 0.6, 0.6],
        "val_macro_f1": [0.4, 0.55, 0.5],
        "lr_head": [0.001] * 3,
    }
)


def difference(mean: float) -> dict[str, Any]:
    return {
        "mean": mean, "standard_error": 0.01, "low": mean - 0.02, "high": mean + 0.02,
        "p_value": 0.04, "p_holm": 0.08, "wins": 1, "pairs": 5,
    }  # fmt: skip


def ablation() -> dict[str, Any]:
    score = {"mean": 0.7, "sd": 0.02}
    row = {"runs": 5, "accuracy": score, "macro_f1": score}
    minus = {"method": "some test", "accuracy": difference(-0.05), "macro_f1": difference(-0.01)}
    left_out = {
        "modality": "image",
        "samples": 86,
        "rescued": {"count": 12, "low": 7.2, "high": 18.7},
        "broken": {"count": 5, "low": 2.3, "high": 10.9},
    }
    return {
        "multimodal": row,
        "text_only": {**row, "minus_multimodal": minus, "left_out": left_out},
    }


def audit() -> dict[str, Any]:
    figure = {"share": 0.1, "low": 0.05, "high": 0.15}
    return {
        "samples": 90,
        "accuracy": 0.8,
        "doubted": 7,
        "wrong": {"share": 0.08, "low": 0.06, "high": 0.11},
        "noise": {
            "negative": dict.fromkeys(LABELS),
            **{true: dict.fromkeys(LABELS, figure) for true in LABELS[1:]},
        },
        "twins": {
            "contradicted": {"samples": 5, "share": 0.4, "low": 0.2, "high": 0.6},
            "confirmed": {"samples": 0},
            "same_suggestion": {"samples": 2, "share": 0.5, "low": 0.0, "high": 1.0},
        },
    }


def classes() -> pd.DataFrame:
    minus = {"minus_multimodal": -0.03, "low": -0.06, "high": 0.01, "p_value": 0.1, "p_holm": 0.3}
    rows = [
        {"variant": name, "label": label, "score": score, "mean": 0.6, "sd": 0.05, **known}
        for name, known in (("multimodal", {}), ("text_only", minus))
        for label in LABELS
        for score in ("f1", "recall")
    ]
    return pd.DataFrame(rows)


def slice_table() -> pd.DataFrame:
    """Two slices that are scored, one of them without macro-F1, and one that is not."""
    scored = {
        "samples": 30, "accuracy": 0.5, "accuracy_low": 0.332, "accuracy_high": 0.668, "macro_f1": 0.4,
        "macro_f1_low": 0.25, "macro_f1_high": 0.55, "minus_rest": -0.2, "minus_rest_low": -0.38,
        "minus_rest_high": 0.01, "minus_rest_same_classes": -0.15, "p_value": 0.03, "p_holm": 0.06,
    }  # fmt: skip
    other = {**scored, "accuracy": 0.7, "minus_rest": 0.2, "p_holm": 0.0004}
    other |= dict.fromkeys(["macro_f1", "macro_f1_low", "macro_f1_high", "minus_rest_same_classes"])
    rows = [
        {"slice": "emoji", "value": "yes", **scored},
        {"slice": "emoji", "value": "no", **other},
        {"slice": "language", "value": "<other>", "samples": 3},
    ]
    return pd.DataFrame(rows, columns=slices.COLUMNS)


def findings() -> Findings:
    """Findings about 60 test samples that a model gets mostly right."""
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 3
    logits = (2 * np.eye(3)[targets] + rng.standard_normal((60, 3))).astype(np.float32)
    probabilities = calibration.softmax(logits)
    trust, reliability, risk_coverage = evaluate.calibrate(targets, logits, 1.25, SCALE.bins)
    test = evaluate.score(targets, probabilities, LABELS, SCALE) | {"calibration": trust} | FAILURES
    baselines = {"majority": np.tile([0.2, 0.3, 0.5], (60, 1)), "text_only": probabilities[::-1]}
    return Findings(
        labels=LABELS,
        model={
            "model": {
                "fusion": "film_concat", "input_mode": "multimodal",
                "encoders": [
                    {"key": "image_some-net", "modality": "image", "tail": None},
                    {"key": "text_one", "modality": "text", "tail": {"layers": 3}},
                    {"key": "text_two", "modality": "text", "tail": {"layers": 12}},
                ],
            },
            "members": 1,
            "info": {"training": [{"best_epoch": 2}]},
        },
        features={
            "image_some-net": {"name": "some/net"},
            "text_one": {"name": "one", "texts": "lower case"},
            "text_two": {"name": "two", "texts": "links are removed"},
        },
        data={
            "samples": {"train": {"negative": 10, "positive": 20}, "predict": {"unlabelled": 4}},
            "duplicates": DUPLICATES,
        },
        evaluate={
            "val": test,
            "test": test,
            "baselines": evaluate.compare(targets, probabilities, baselines, LABELS, SCALE),
        },
        ablate=ablation(),
        folds={"note": "one split"},
        audit=audit(),
        runs=pd.DataFrame(
            [(name, seed, 0.7, 0.6) for name in ("multimodal", "text_only") for seed in range(5)],
            columns=["variant", "seed", "accuracy", "macro_f1"],
        ),
        classes=classes(),
        slices=slice_table(),
        histories=(HISTORY, HISTORY),
        confusion=pd.DataFrame(
            {
                "actual": [LABELS[target] for target in targets],
                "predicted": [LABELS[best] for best in probabilities.argmax(axis=1)],
            }
        ),
        reliability=reliability,
        risk_coverage=risk_coverage,
    )  # fmt: skip


def card(guid: str, text: str = "a text") -> SampleCard:
    answers = [
        Answer(name, "neutral", {"negative": 0.125, "neutral": 0.75, "positive": 0.125})
        for name in ("model", "text_only", "image_only")
    ]
    return SampleCard(guid, "positive", text, PIXEL, answers, {"text": 0.5, "image": -0.25})


def doubted(guid: str) -> SampleCard:
    answer = Answer("out_of_fold", "negative", {"negative": 0.8, "neutral": 0.1, "positive": 0.1})
    return SampleCard(
        guid, "positive", "a text", PIXEL, [answer], {}, "negative", "negative, neutral x2"
    )


def plain(html: str) -> str:
    """The text of the page, white space folded."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_the_figures_stand_on_the_page_with_their_intervals() -> None:
    found = findings()
    shown = plain(report.render(found, [], [], []))
    for row in (found.evaluate["test"], *found.evaluate["baselines"].values()):
        for name in COMPARED:
            value, own = f"{row[name]:.3f}"[1:], row["interval"][name]
            assert f"{value} {own['low']:.3f}"[:4] in shown
            assert f"{own['low']:.3f}"[1:] + " – " + f"{own['high']:.3f}"[1:] in shown
    assert "text only 5 .700 ± .020 .700 ± .020 −5.0 −7.0 to −3.0, p .080" in shown
    assert "Test: some test. Each p is corrected for the number of variants" in shown
    assert "multimodal neutral .600 ± .050 .600 ± .050 multimodal positive" in shown
    assert "text only neutral .600 ± .050 .600 ± .050 −3.0 −6.0 to +1.0, p .300 −3.0" in shown
    assert "rescued broken samples tested image 12 7 – 19 5 2 – 11 86 Rescued:" in shown
    assert (
        "fusion film concat, multimodal; encoders some/net for images (frozen), one for texts (last 3 layers "
        "finetuned), two for texts (last 12 layers finetuned)."
    ) in shown
    assert "Texts, as one reads them: lower case. Texts, as two reads them: links are" in shown
    assert "as some/net reads" not in shown
    assert "15 labelled samples stand in 7 groups" in shown
    assert "would leave 5 test samples with a twin in train; this one leaves 0." in shown


def test_folds_have_a_section_where_there_are_several() -> None:
    found = findings()
    assert 'id="folds"' not in report.render(found, [], [], [])
    row = {"accuracy": 0.7, "macro_f1": 0.6, "weighted_f1": 0.65}
    over = {"mean": 0.75, "sd": 0.02, "low": 0.7, "high": 0.8}
    folds = {
        "by_fold": {
            fold: {"train_samples": 40, "test_samples": 20, **row} for fold in ("0", "1", "2")
        },
        "over_folds": {"method": "some test", **dict.fromkeys(row, over)},
        "pooled": found.evaluate["test"],
    }
    page = report.render(replace(found, folds=folds), [], [], [])
    assert '<a href="#folds">' in page
    shown = plain(page)
    assert "trained on each of 3 folds" in shown
    assert "fold 2 .700 .600 .650 40 20 mean .750 ± .020, .700 – .800 .750" in shown
    pooled = found.evaluate["test"]
    assert f"pooled {pooled['accuracy']:.3f}".replace(" 0.", " .") in shown


def test_the_leaks_of_a_published_split_are_told() -> None:
    found = findings()
    test = {
        "samples": 450, "with_twin": 36, "image_file": 3, "near_identical_image": 5, "text": 31
    }  # fmt: skip
    duplicates = {**DUPLICATES, "twins_in_train": {"this_split": {"val": test, "test": test}}}
    shown = plain(
        report.render(replace(found, data={**found.data, "duplicates": duplicates}), [], [], [])
    )
    assert "of its 450 test samples 36 have a twin in train (3 by an image file, 5 by a" in shown
    assert "A split that ignores them" not in shown


def test_doubted_labels_stand_beside_what_is_estimated_of_all() -> None:
    shown = plain(report.render(findings(), [], [], [doubted("9")]))
    assert "doubts 7 of 90 labels and estimates that .080 .060 – .110 of all labels" in shown
    assert "Of 5 samples whose twins" in shown
    assert "it doubts .400 .200 – .600 ." in shown, "nothing is said of confirmed labels"
    assert "suggests a label of theirs in .500 .000 – 1.000 of 2 cases." in shown
    assert "labelled positive negative – – – neutral .100 .050 – .150 .100" in shown
    assert (
        "label positive , rather negative 9 out of fold negative .800 labels of its twins" in shown
    )
    assert "of its twins: negative, neutral x2" in shown
    assert "of the model's negative" not in shown


def test_without_an_audit_the_page_says_why() -> None:
    none = replace(findings(), audit={"note": "there are no labelled rows"})
    shown = plain(report.render(none, [], [], []))
    assert "Labels that are probably wrong there are no labelled rows." in shown


@pytest.mark.parametrize(
    ("p", "told"), [(0.0004, "p &lt; .001"), (0.001, "p .001"), (0.25, "p .250"), (1.0, "p 1.000")]
)
def test_a_p_value_is_never_told_as_zero(p: float, told: str) -> None:
    found = findings()
    ablate = copy.deepcopy(dict(found.ablate))
    ablate["text_only"]["minus_multimodal"]["accuracy"]["p_holm"] = p
    html = plain(report.render(replace(found, ablate=ablate), [], [], []))
    assert f"−5.0 −7.0 to −3.0, {told} −1.0" in html


def test_the_same_findings_give_the_same_bytes() -> None:
    one, other = (report.render(findings(), [card("1")], [card("2")], []) for _ in range(2))
    assert one == other


def test_a_browser_shows_every_picture_and_card_without_a_network(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    mistakes = [card(f"m{number}") for number in range(5)]
    page.write_text(
        report.render(findings(), mistakes, [card("d1"), card("d2")], [doubted("l1")]), "utf-8"
    )
    browser.open(page)
    assert len(browser.find("#mistakes .card")) == 5
    assert len(browser.find("#disagreements .card")) == 2
    assert len(browser.find("#labels .card")) == 1
    figures = browser.find("img.figure")
    assert len(figures) == 8
    for image in browser.find("img"):
        assert int(image.get_property("naturalWidth") or 0) > 0
        assert image.get_attribute("alt")
    assert "blue with a solid line" not in page.read_text(encoding="utf-8")  # nothing is explained
    assert browser.network_requests() == []
    assert browser.console_errors() == []


def test_texts_are_data_and_never_run(browser: Browser, tmp_path: Path) -> None:
    attack = (
        "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
    )
    page = tmp_path / "report.html"
    page.write_text(report.render(findings(), [card("1", attack)], [card("&<'\"")], []), "utf-8")
    browser.open(page)
    assert [tweet.text for tweet in browser.find("#mistakes .tweet")] == [attack]
    assert browser.find("#disagreements .guid")[0].text == "&<'\""
    assert browser.find("script") == []
    assert browser.find("h1")[0].text == "Evaluation report"
    assert browser.driver.title == "sentifuse report"
    assert browser.network_requests() == []


def test_a_card_that_is_explained_shows_its_words_and_parts(
    browser: Browser, tmp_path: Path
) -> None:
    attack = "<img src=x onerror=\"document.title='owned'\">"
    explanation = {
        "prediction": {"label": "neutral", "confidence": 0.75},
        "text": f"so {attack}",
        "words": [{"text": attack, "start": 3, "end": 3 + len(attack), "contribution": -0.2}],
        "grid": [[0.1, 0.0], [0.0, -0.05]],
    }  # fmt: skip
    shown = replace(card("m1"), explained=explained.of(explanation, (120, 80)))
    page = tmp_path / "report.html"
    page.write_text(report.render(findings(), [shown, card("m2")], [], []), "utf-8")
    browser.open(page)
    assert [mark.text for mark in browser.find("#mistakes .tweet mark")] == [f"{attack}\u221220.0"]
    assert len(browser.find("#mistakes svg rect")) == 2
    assert len(browser.find("#mistakes details")) == len(browser.find("#mistakes .card > img")) == 1
    assert "blue with a solid line" in browser.find("#mistakes .note")[1].text
    assert browser.driver.title == "sentifuse report"
    assert browser.network_requests() == browser.console_errors() == []


def test_slices_stand_on_the_page_with_what_is_known_of_them() -> None:
    shown = plain(report.render(findings(), [], [], []))
    assert (
        "emoji: yes 30 .500 .332 – .668 .400 .250 – .550 −20.0 −38.0 to +1.0, p .060 −15.0 "
        "emoji: no 30 .700 .332 – .668 +20.0 −38.0 to +1.0, p &lt; .001 Some slices"
    ) in shown
    assert "fewer than 20 samples in them or beside them: language: &lt;other&gt; (3)." in shown
    assert "is known with backbone.ocr only" in shown
    assert "For .850 (.750 – .920) of the test samples, text alone or image alone" in shown
    assert "dealt out at random it would still be .810" in shown
    assert "No test sample has a twin in train." in shown


def test_where_slices_or_the_oracle_are_missing_the_page_says_why() -> None:
    found = findings()
    test = {name: own for name, own in found.evaluate["test"].items() if name != "oracle"}
    without = {**found.evaluate, "test": test}
    features = {**found.features, "ocr_one": {"name": "one"}}
    shown = plain(
        report.render(
            replace(found, slices=found.slices[2:], evaluate=without, features=features), [], [], []
        )
    )
    assert "No slice has 20 samples and 20 others beside it." in shown
    assert "Text alone and image alone were not trained" in shown
    assert "backbone.ocr" not in shown


def test_scores_without_twins_stand_beside_those_with_them() -> None:
    found = findings()
    ends = {"low": 0.5, "high": 0.7}
    without = {
        "accuracy": 0.61, "macro_f1": 0.62, "interval": {"accuracy": ends, "macro_f1": ends}
    }  # fmt: skip
    row = {"samples": 9, "without": without}
    twins = {"near_identical_image": {"samples": 0}, "text": row, "any": row}
    test = {**found.evaluate["test"], "twins_in_train": twins}
    shown = plain(
        report.render(replace(found, evaluate={**found.evaluate, "test": test}), [], [], [])
    )
    assert "near identical image 0 text 9 .610 .500 – .700 .620 .500 – .700 any 9 .610" in shown
    assert "report the figures without them" in shown


def test_without_a_test_part_the_page_says_so() -> None:
    found = findings()
    shown = plain(
        report.render(
            replace(
                found,
                evaluate={"val": found.evaluate["val"]},
                ablate={"note": "test_size is 0: there is nothing to compare on"},
                runs=found.runs[:0],
                classes=found.classes[:0],
                slices=found.slices[:0],
                confusion=found.confusion[:0],
                reliability=found.reliability[:0],
                risk_coverage=found.risk_coverage[:0],
            ),
            [],
            [],
            [],
        )
    )
    assert "There is no test part: split.test_size is 0. On validation" in shown
    assert "test_size is 0: there is nothing to compare on." in shown


def test_without_held_out_rows_there_are_losses_only() -> None:
    found = findings()
    history = HISTORY[["epoch", "train_loss", "lr_head"]]
    none = replace(
        found,
        evaluate={"note": evaluate.NOTE},
        ablate={"note": "nothing"},
        histories=(history, history[:0]),
        slices=found.slices[:0],
    )
    assert "On validation" not in plain(report.render(none, [], [], []))


def test_a_single_run_has_no_interval_of_its_difference() -> None:
    found = findings()
    ablate = copy.deepcopy(dict(found.ablate))
    for score in ("accuracy", "macro_f1"):
        ablate["text_only"]["minus_multimodal"][score] = {"mean": -0.05, "wins": 0, "pairs": 1}
    html = report.render(replace(found, ablate=ablate), [], [], [])
    assert "Paired difference to the multimodal model" not in html
    assert ".700 ± .020 −5.0 −5.0" in plain(html)


def test_variants_without_the_multimodal_one_are_not_compared() -> None:
    found = findings()
    ablate = {"text_only": found.ablate["multimodal"]}
    alone = found.classes[found.classes["variant"] == "multimodal"]
    shown = plain(report.render(replace(found, ablate=ablate, classes=alone), [], [], []))
    assert "By class" in shown
    assert "Each p is corrected" not in shown
    assert "rescues or breaks" not in shown


@pytest.mark.parametrize("labels", [("no", "yes"), ("a", "b", "c", "d", "e")])
def test_any_number_of_classes_is_shown(labels: tuple[str, ...]) -> None:
    found = findings()
    targets = np.arange(40) % len(labels)
    probabilities = np.eye(len(labels))[targets]
    test = evaluate.score(targets, probabilities, labels, SCALE)
    test["calibration"] = found.evaluate["test"]["calibration"]
    names = [labels[target] for target in targets]
    html = report.render(
        replace(
            found,
            labels=labels,
            evaluate={"test": test | FAILURES, "baselines": {}},
            confusion=pd.DataFrame({"actual": names, "predicted": names}),
        ),
        [],
        [],
        [],
    )
    for label in labels:
        assert f"<th>{label}</th>" in html


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = findings()
    from sentifuse.runtime.files import write_csv, write_json

    write_json(tmp_path / "config.json", dict(found.model))
    for name in ("features", "data", "evaluate", "ablate", "audit", "folds"):
        write_json(tmp_path / f"{name}.json", dict(getattr(found, name)))
    tables = {
        "stage1": HISTORY, "stage2": HISTORY, "ablate_runs": found.runs,
        "confusion": found.confusion, "reliability": found.reliability,
        "risk_coverage": found.risk_coverage,
    }  # fmt: skip
    for name, table in tables.items():
        write_csv(tmp_path / f"{name}.csv", table)
    write_csv(tmp_path / "ablation" / "classes.csv", found.classes)
    write_csv(tmp_path / "evaluation" / "slices.csv", found.slices)
    read = report.read(LABELS, tmp_path / "config.json", tmp_path, tmp_path, tmp_path)
    assert read.evaluate == found.evaluate
    assert read.model == found.model
    assert read.features == found.features
    assert list(read.confusion["actual"]) == list(found.confusion["actual"])
    assert plain(report.render(read, [], [], [])) == plain(report.render(found, [], [], []))
