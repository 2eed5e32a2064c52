import math
from typing import Any

import numpy as np
import pytest

from sentifuse.config.recipe import Fusion, InputMode, IntervalOptions
from sentifuse.evaluation import ablation, rescued
from sentifuse.evaluation.variants import Run, Variant
from sentifuse.metrics import scores as metrics
from sentifuse.metrics import significance
from sentifuse.runtime.files import as_csv
from sentifuse.training.loop import Fitted
from sentifuse.training.trial import Trial

MODES: tuple[InputMode, ...] = ("multimodal", "text_only", "image_only")
LABELS = ("no", "yes")
INTERVAL = IntervalOptions(level=0.95, resamples=400)


def run(name: Any, seed: int, right: tuple[int, int], split: bool = False, train: int = 80) -> Run:
    """Five samples of either class, so many of each classified as they should be."""
    targets = np.repeat([0, 1], 5)
    hit = np.concatenate([np.arange(5) < count for count in right])
    trial = Trial(
        members=[Fitted([], 0, {}, "fp32")],
        train_samples=train,
        val={},
        guids=[str(index) for index in range(10)],
        targets=targets,
        logits=np.eye(2, dtype=np.float32)[np.where(hit, targets, 1 - targets)],
        temperature=1.0,
    )
    return Run(Variant(name, "concat", name), seed, seed if split else None, trial)


# Accuracies .8 and .9 against .5 and .5.
RIGHT = [
    ("multimodal", 42, (5, 3)),
    ("multimodal", 43, (4, 5)),
    ("text_only", 42, (3, 2)),
    ("text_only", 43, (0, 5)),
]
# F1 of a class is 2 hits / (samples + times predicted).
MACRO = [(10 / 12 + 6 / 8) / 2, (8 / 9 + 10 / 11) / 2, (6 / 11 + 4 / 9) / 2, (0 + 10 / 15) / 2]
RUNS = [run(*each) for each in RIGHT]
RESPLIT = [run(*each, split=True) for each in RIGHT]


def differences(runs: list[Run], seed: int = 0) -> ablation.Differences:
    return ablation.differences(runs, LABELS, INTERVAL, seed=seed)


def summary(runs: list[Run], seed: int = 0) -> dict[str, Any]:
    samples = rescued.table(runs, LABELS)
    return ablation.summary(runs, differences(runs, seed), samples, INTERVAL.level)


def test_one_mode_alone_can_be_asked_for_and_a_repeated_one_counts_once() -> None:
    assert ablation.variants("film", ["multimodal", "multimodal"], []) == [
        Variant("multimodal", "film", "multimodal")
    ]


@pytest.mark.parametrize("fusion", ["concat", "gated", "film"])
def test_each_modality_is_left_out_in_turn(fusion: Fusion) -> None:
    assert ablation.variants(fusion, MODES, []) == [
        Variant("multimodal", fusion, "multimodal"),
        Variant("text_only", fusion, "text_only"),
        Variant("image_only", fusion, "image_only"),
    ]


def test_a_fusion_that_attends_is_compared_with_unimodal_concat() -> None:
    assert [
        (each.fusion, each.input_mode) for each in ablation.variants("cross_attn", MODES, [])
    ] == [
        ("cross_attn", "multimodal"),
        ("concat", "text_only"),
        ("concat", "image_only"),
    ]


def test_other_fusions_follow_in_the_order_given_without_the_models_own() -> None:
    found = ablation.variants("gated", MODES, ["film", "gated", "concat"])[3:]
    assert found == [
        Variant("film", "film", "multimodal"),
        Variant("concat", "concat", "multimodal"),
    ]


def test_a_fusion_that_is_named_twice_is_trained_once() -> None:
    found = ablation.variants("concat", MODES, ["gated", "film", "gated"])
    assert [variant.name for variant in found[3:]] == ["gated", "film"]


def test_a_table_has_a_row_a_run_with_its_scores_and_sizes() -> None:
    found = ablation.table([*RUNS, *RESPLIT[:1]])
    assert list(found) == [
        "variant", "seed", "split_seed", "train_samples", "test_samples", "accuracy", "macro_f1",
        "weighted_f1",
    ]  # fmt: skip
    assert found["variant"].tolist() == ["multimodal"] * 2 + ["text_only"] * 2 + ["multimodal"]
    assert found["seed"].tolist() == [42, 43, 42, 43, 42]
    assert found["split_seed"].isna().tolist() == [True] * 4 + [False]
    assert found["split_seed"][4] == 42
    assert set(found["train_samples"]) == {80}
    assert set(found["test_samples"]) == {10}
    assert found["accuracy"].tolist() == [0.8, 0.9, 0.5, 0.5, 0.8]
    assert found["macro_f1"].tolist() == pytest.approx([*MACRO, MACRO[0]])


def test_scores_are_grouped_by_variant_in_the_order_of_the_runs() -> None:
    mixed = [RUNS[2], RUNS[0], RUNS[3], RUNS[1]]
    found = ablation.scores(mixed, "accuracy")
    assert list(found.items()) == [("text_only", [0.5, 0.5]), ("multimodal", [0.8, 0.9])]
    assert ablation.scores([], "accuracy") == {}


def test_a_summary_has_the_mean_and_the_sample_standard_deviation() -> None:
    found = summary(RUNS)
    assert list(found) == ["multimodal", "text_only"]
    assert found["multimodal"]["runs"] == 2
    assert math.isclose(found["multimodal"]["accuracy"]["mean"], 0.85)
    assert math.isclose(found["multimodal"]["accuracy"]["sd"], 0.1 / math.sqrt(2))
    assert math.isclose(found["multimodal"]["macro_f1"]["mean"], (MACRO[0] + MACRO[1]) / 2)
    assert math.isclose(
        found["multimodal"]["macro_f1"]["sd"], abs(MACRO[0] - MACRO[1]) / math.sqrt(2)
    )
    assert found["text_only"]["accuracy"] == {"mean": 0.5, "sd": 0.0}


def test_one_run_has_no_deviation() -> None:
    found = summary(RUNS[:1])["multimodal"]["macro_f1"]
    assert found == {"mean": pytest.approx(MACRO[0]), "sd": 0.0}


def test_the_reference_is_not_compared_with_itself() -> None:
    for found in (summary(RUNS), summary(RESPLIT)):
        assert [name for name in found if "minus_multimodal" in found[name]] == ["text_only"]


def test_without_the_reference_nothing_is_compared() -> None:
    assert set(summary(RUNS[2:])["text_only"]) == {"runs", "precision", *metrics.COMPARED}


def test_over_splits_the_differences_are_tested_with_the_corrected_t_test() -> None:
    found = summary(RESPLIT)["text_only"]["minus_multimodal"]
    assert found["method"] == significance.CORRECTED_T
    # Differences -.3 and -.4: variance .005; times 1/2 + 10/80.
    error = math.sqrt(0.005 * 0.625)
    # With one degree of freedom t is Cauchy's distribution.
    reach = math.tan(math.pi * (0.975 - 0.5)) * error
    assert found["accuracy"] == {
        "mean": pytest.approx(-0.35),
        "standard_error": pytest.approx(error),
        "low": pytest.approx(-0.35 - reach),
        "high": pytest.approx(-0.35 + reach),
        "p_value": pytest.approx(1 - 2 * math.atan(0.35 / error) / math.pi),
        "p_holm": pytest.approx(1 - 2 * math.atan(0.35 / error) / math.pi),
        "wins": 0,
        "pairs": 2,
    }
    expected = (MACRO[2] + MACRO[3] - MACRO[0] - MACRO[1]) / 2
    assert found["macro_f1"]["mean"] == pytest.approx(expected)


def test_one_split_tells_a_difference_and_no_more() -> None:
    found = summary([RESPLIT[0], RESPLIT[2]])["text_only"]["minus_multimodal"]
    assert found["accuracy"] == {"mean": pytest.approx(-0.3), "wins": 0, "pairs": 1}


def test_on_one_split_the_samples_are_resampled() -> None:
    found = summary(RUNS, seed=7)["text_only"]["minus_multimodal"]
    assert found["method"] == significance.BOOTSTRAP
    predicted = np.stack([run.trial.predicted for run in RUNS])
    expected = significance.over_samples(
        RUNS[0].trial.targets,
        np.stack([predicted[2:], predicted[:2]]),
        2,
        metrics.summary,
        interval=INTERVAL,
        seed=7,
    )
    for score in metrics.COMPARED:
        own = expected[score]
        assert found[score] == vars(own) | {"p_holm": own.p_value}
    assert found["accuracy"]["mean"] == pytest.approx(-0.35)
    assert found["accuracy"]["low"] < -0.35 < found["accuracy"]["high"] < 0
    assert found != summary(RUNS, seed=8)["text_only"]["minus_multimodal"]


# Three variants against the reference, on five splits each.
RIGHTS = {
    "multimodal": [(5, 4), (4, 5), (5, 5), (4, 4), (5, 4)],
    "text_only": [(4, 4), (4, 3), (4, 4), (4, 3), (5, 3)],
    "image_only": [(2, 3), (1, 4), (3, 2), (2, 2), (2, 1)],
    "gated": [(5, 4), (5, 5), (4, 4), (4, 4), (5, 3)],
}


def many(*, split: bool) -> list[Run]:
    return [
        run(name, seed, right, split=split)
        for name, rights in RIGHTS.items()
        for seed, right in enumerate(rights)
    ]


@pytest.mark.parametrize("split", [True, False])
def test_p_values_are_corrected_over_variants_and_those_of_classes_over_both(split: bool) -> None:
    found = differences(many(split=split))
    assert list(found) == ["text_only", "image_only", "gated"]
    for score, size in (
        ("accuracy", 3),
        ("macro_f1", 3),
        ("weighted_f1", 3),
        ("f1", 6),
        ("recall", 6),
    ):
        family = {
            (name, key): difference
            for name, row in found.items()
            for key, difference in row.items()
            if key[0] == score
        }
        assert len(family) == size
        assert significance.holm(family) == family
        smallest = min(family.values(), key=lambda each: each.p_value or 0.0)
        assert smallest.p_value is not None
        assert smallest.p_holm == pytest.approx(min(1.0, size * smallest.p_value))


def test_a_class_has_the_paired_differences_of_its_own_recall_and_f1() -> None:
    found = differences(many(split=True))["image_only"]
    assert set(found) == {
        ("accuracy", None), ("macro_f1", None), ("weighted_f1", None),
        ("f1", "no"), ("f1", "yes"), ("recall", "no"), ("recall", "yes"),
    }  # fmt: skip
    for place, label in enumerate(LABELS):
        pairs = zip(RIGHTS["image_only"], RIGHTS["multimodal"], strict=True)
        recall = np.array([(one[place] - other[place]) / 5 for one, other in pairs])
        expected = significance.corrected_t_test(recall, 10 / 80, 0.95)
        assert found["recall", label].p_value == pytest.approx(expected.p_value)
        assert found["recall", label].low == pytest.approx(expected.low)
    # Of "no" 5 hits and 1 false alarm, and so on: 2 hits / (samples + times predicted).
    f1 = [2 * no / (5 + no + 5 - yes) for no, yes in RIGHTS["image_only"]]
    reference = [2 * no / (5 + no + 5 - yes) for no, yes in RIGHTS["multimodal"]]
    assert found["f1", "no"].mean == pytest.approx(np.mean(f1) - np.mean(reference))


def test_the_table_of_classes_has_a_row_per_variant_class_and_score() -> None:
    runs = many(split=True)
    found = differences(runs)
    table = ablation.classes(runs, LABELS, found)
    assert len(table) == 4 * 2 * 2
    assert table["minus_multimodal"].isna().tolist() == [True] * 4 + [False] * 12
    rows = table.set_index(["variant", "label", "score"])
    row, own = rows.loc["image_only", "yes", "recall"], found["image_only"]["recall", "yes"]
    values = [yes / 5 for _, yes in RIGHTS["image_only"]]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert [row[name] for name in ("minus_multimodal", "low", "high", "p_value", "p_holm")] == [
        own.mean, own.low, own.high, own.p_value, own.p_holm
    ]  # fmt: skip


def test_a_variant_of_one_modality_says_what_the_other_rescues_and_breaks() -> None:
    runs = many(split=False)
    found = summary(runs)
    assert [name for name in found if "left_out" in found[name]] == ["text_only", "image_only"]
    samples = rescued.table(runs, LABELS)
    for name, modality in (("text_only", "image"), ("image_only", "text")):
        counted = rescued.counts(samples, "multimodal", name, 0.95)
        assert found[name]["left_out"] == {"modality": modality, **counted}
    assert found["image_only"]["left_out"]["rescued"]["count"] > 0
    # The image alone, with nothing to compare it with.
    assert "left_out" not in summary(runs[10:15])["image_only"]


def test_tables_have_the_means_and_every_run() -> None:
    # The classes are equally frequent, so that both kinds of F1 are the same.
    assert as_csv(ablation.means(summary(RESPLIT))) == (
        "variant,accuracy,macro_f1,weighted_f1\n"
        "multimodal,0.850000,0.845328,0.845328\n"
        "text_only,0.500000,0.414141,0.414141\n"
    )
    assert as_csv(ablation.table(RESPLIT)) == (
        "variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1,weighted_f1\n"
        "multimodal,42,42,80,10,0.800000,0.791667,0.791667\n"
        "multimodal,43,43,80,10,0.900000,0.898990,0.898990\n"
        "text_only,42,42,80,10,0.500000,0.494949,0.494949\n"
        "text_only,43,43,80,10,0.500000,0.333333,0.333333\n"
    )
    unsplit = as_csv(ablation.table(RUNS)).splitlines()[1]
    assert unsplit == "multimodal,42,,80,10,0.800000,0.791667,0.791667"


def test_what_is_told_has_the_corrected_p_and_the_samples() -> None:
    assert ablation.told(summary(RESPLIT)).splitlines() == [
        "  multimodal: accuracy 0.850 +- 0.071, macro_f1 0.845 +- 0.076, weighted_f1 0.845 +- 0.076 (2 runs)",
        "   text_only: accuracy 0.500 +- 0.000 (-35.0 points, -106.0 to +36.0, Holm p 0.101), "
        "macro_f1 0.414 +- 0.114 (-43.1 points, -234.1 to +147.9, Holm p 0.214), "
        "weighted_f1 0.414 +- 0.114 (-43.1 points, -234.1 to +147.9, Holm p 0.214) (2 runs)",
        "of 10 samples the image rescues 1 (0 to 4) and breaks 0 (0 to 3)",
    ]
    several = summary(many(split=True))
    row = several["text_only"]["minus_multimodal"]["accuracy"]
    assert row["p_holm"] > row["p_value"]
    assert f", Holm p {row['p_holm']:.3f}), macro_f1" in ablation.told(several).splitlines()[1]


def test_without_an_interval_none_is_told() -> None:
    assert ablation.told(summary([RESPLIT[0], RESPLIT[2]])).splitlines()[1] == (
        "   text_only: accuracy 0.500 +- 0.000, macro_f1 0.495 +- 0.000, weighted_f1 0.495 +- 0.000 (1 runs)"
    )


def test_without_runs_there_is_a_note_and_headers() -> None:
    assert (differences([]), summary([])) == ({}, {})
    assert ablation.told({}) == "test_size is 0: there is nothing to compare on"
    tables = ablation.means({}), ablation.table([]), ablation.classes([], LABELS, {})
    assert [as_csv(each) for each in tables] == [
        "variant,accuracy,macro_f1,weighted_f1\n",
        "variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1,weighted_f1\n",
        "variant,label,score,mean,sd,minus_multimodal,low,high,p_value,p_holm\n",
    ]
