import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentifuse.config.recipe import Fusion, InputMode, IntervalOptions
from sentifuse.evaluation import ablation
from sentifuse.evaluation.variants import Run, Variant
from sentifuse.metrics import significance
from sentifuse.training.loop import Fitted
from sentifuse.training.trial import Trial

MODES: tuple[InputMode, ...] = ("multimodal", "text_only", "image_only")
INTERVAL = IntervalOptions(level=0.95, resamples=400)


def run(name: Any, seed: int, right: tuple[int, int], split: bool = False, train: int = 80) -> Run:
    """Five samples of either class, so many of each classified as they should be."""
    targets = np.repeat([0, 1], 5)
    hit = np.concatenate([np.arange(5) < count for count in right])
    trial = Trial(
        members=[Fitted([], 0, {}, "fp32")],
        train_samples=train,
        val={},
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


def summary(runs: list[Run], *, resplit: bool = False, seed: int = 0) -> dict[str, Any]:
    return ablation.summary(runs, INTERVAL, resplit=resplit, seed=seed)


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
    for found in (summary(RUNS), summary(RESPLIT, resplit=True)):
        assert [name for name in found if "minus_multimodal" in found[name]] == ["text_only"]


def test_without_the_reference_nothing_is_compared() -> None:
    assert set(summary(RUNS[2:])["text_only"]) == {"runs", "precision", "accuracy", "macro_f1"}


def test_over_splits_the_differences_are_tested_with_the_corrected_t_test() -> None:
    found = summary(RESPLIT, resplit=True)["text_only"]["minus_multimodal"]
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
        "wins": 0,
        "pairs": 2,
    }
    expected = (MACRO[2] + MACRO[3] - MACRO[0] - MACRO[1]) / 2
    assert found["macro_f1"]["mean"] == pytest.approx(expected)


def test_one_split_tells_a_difference_and_no_more() -> None:
    found = summary([RESPLIT[0], RESPLIT[2]], resplit=True)["text_only"]["minus_multimodal"]
    assert found["accuracy"] == {"mean": pytest.approx(-0.3), "wins": 0, "pairs": 1}


def test_on_one_split_the_samples_are_resampled() -> None:
    found = summary(RUNS, seed=7)["text_only"]["minus_multimodal"]
    assert found["method"] == significance.BOOTSTRAP
    expected = significance.over_samples(
        RUNS[0].trial.targets,
        np.stack([RUNS[2].trial.predicted, RUNS[3].trial.predicted]),
        np.stack([RUNS[0].trial.predicted, RUNS[1].trial.predicted]),
        2,
        interval=INTERVAL,
        seed=7,
    )
    for score in ("accuracy", "macro_f1"):
        assert found[score] == vars(expected[score])
    assert found["accuracy"]["mean"] == pytest.approx(-0.35)
    assert found["accuracy"]["low"] < -0.35 < found["accuracy"]["high"] < 0
    assert found != summary(RUNS, seed=8)["text_only"]["minus_multimodal"]


def written(tmp_path: Path, runs: list[Run], *, resplit: bool = False) -> tuple[Path, Path, Path]:
    paths = tmp_path / "m.json", tmp_path / "bars.csv", tmp_path / "runs.csv"
    ablation.write(runs, summary(runs, resplit=resplit), *paths)
    return paths


def test_files_hold_the_summary_the_means_and_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, bars, every = written(tmp_path, RESPLIT, resplit=True)
    assert json.loads(metrics.read_text(encoding="utf-8")) == summary(RESPLIT, resplit=True)
    assert bars.read_bytes() == (
        b"variant,accuracy,macro_f1\nmultimodal,0.850000,0.845328\ntext_only,0.500000,0.414141\n"
    )
    assert every.read_bytes() == (
        b"variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1\n"
        b"multimodal,42,42,80,10,0.800000,0.791667\n"
        b"multimodal,43,43,80,10,0.900000,0.898990\n"
        b"text_only,42,42,80,10,0.500000,0.494949\n"
        b"text_only,43,43,80,10,0.500000,0.333333\n"
    )
    assert capsys.readouterr().out.splitlines() == [
        "  multimodal: accuracy 0.850 +- 0.071, macro_f1 0.845 +- 0.076 (2 runs)",
        "   text_only: accuracy 0.500 +- 0.000 (-35.0 points, -106.0 to +36.0, p 0.101), "
        "macro_f1 0.414 +- 0.114 (-43.1 points, -234.1 to +147.9, p 0.214) (2 runs)",
    ]


def test_runs_on_one_split_have_no_split_seed(tmp_path: Path) -> None:
    _, _, every = written(tmp_path, RUNS)
    assert every.read_bytes().splitlines()[1] == b"multimodal,42,,80,10,0.800000,0.791667"


def test_without_an_interval_none_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, [RESPLIT[0], RESPLIT[2]], resplit=True)
    assert capsys.readouterr().out.splitlines()[1] == (
        "   text_only: accuracy 0.500 +- 0.000, macro_f1 0.495 +- 0.000 (1 runs)"
    )


def test_without_runs_there_is_a_note_and_headers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, bars, every = written(tmp_path, [])
    note = "test_size is 0: there is nothing to compare on"
    assert json.loads(metrics.read_text(encoding="utf-8")) == {"note": note}
    assert bars.read_bytes() == b"variant,accuracy,macro_f1\n"
    assert every.read_bytes() == (
        b"variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1\n"
    )
    assert capsys.readouterr().out == f"{note}\n"
