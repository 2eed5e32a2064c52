"""Tests of what is told about folds."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import cross_validation
from sentifuse.metrics.scores import COMPARED, scores
from sentifuse.training.trial import Trial
from tests.places import ROOT

LABELS = ("a", "1", "NA")
INTERVAL = IntervalOptions(level=0.9, resamples=200)


def trial(guids: Sequence[str], targets: list[int], predicted: list[int], train: int) -> Trial:
    logits = (2 * np.eye(3)[predicted]).astype(np.float32)
    return Trial([], train, {}, guids, np.array(targets), logits, temperature=2.0)


TRIALS = [
    trial(["p", "q", "r"], [0, 1, 2], [0, 1, 1], train=6),
    trial(["s", "t", "u"], [0, 1, 2], [0, 1, 2], train=6),
    trial(["v", "w", "x"], [0, 1, 2], [1, 2, 2], train=12),
]


def measured(trials: Sequence[Trial]) -> dict[str, Any]:
    table = cross_validation.by_fold(trials, LABELS)
    predicted = cross_validation.predictions(trials, LABELS)
    return cross_validation.measure(table, predicted, LABELS, INTERVAL, seed=1)


def test_predictions_have_a_row_for_each_sample_that_a_fold_tests() -> None:
    found = cross_validation.predictions(TRIALS, LABELS)
    assert list(found) == ["fold", "guid", "label", "predicted", "p_a", "p_1", "p_NA"]
    assert list(found["fold"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert list(found["guid"]) == list("pqrstuvwx")
    assert list(found["label"]) == ["a", "1", "NA"] * 3
    assert list(found["predicted"][:3]) == ["a", "1", "1"]
    # softmax of (2, 0, 0) / 2
    assert found["p_a"][0] == pytest.approx(np.e / (np.e + 2))
    assert np.allclose(found[["p_a", "p_1", "p_NA"]].sum(axis=1), 1)


def test_each_fold_has_its_sizes_and_scores() -> None:
    table = cross_validation.by_fold(TRIALS, LABELS)
    assert list(table["fold"]) == [0, 1, 2]
    assert list(table["train_samples"]) == [6, 6, 12]
    assert list(table["test_samples"]) == [3, 3, 3]
    assert list(table["accuracy"]) == pytest.approx([2 / 3, 1, 1 / 3])
    expected = scores(TRIALS[0].targets, TRIALS[0].predicted, LABELS)
    for score in ("macro_f1", "weighted_f1"):
        assert table[score][0] == pytest.approx(expected[score])


def test_the_mean_over_folds_has_the_corrected_interval() -> None:
    found = measured(TRIALS)
    assert list(found["by_fold"]) == ["0", "1", "2"]
    assert found["by_fold"]["2"]["train_samples"] == 12
    over = found["over_folds"]
    assert over["method"].startswith("corrected resampled t-test")
    own = over["accuracy"]
    assert own["mean"] == pytest.approx(2 / 3)
    assert own["sd"] == pytest.approx(1 / 3)
    ratio = (3 / 6 + 3 / 6 + 3 / 12) / 3
    reach = stats.t.ppf(0.95, 2) * own["sd"] * np.sqrt(1 / 3 + ratio)
    assert reach > 1 / 3
    assert (own["low"], own["high"]) == (pytest.approx(max(0, 2 / 3 - reach)), 1.0)


def test_pooled_scores_are_those_of_all_test_parts_together() -> None:
    found = measured(TRIALS)["pooled"]
    targets = np.concatenate([each.targets for each in TRIALS])
    predicted = np.concatenate([each.predicted for each in TRIALS])
    interval = found.pop("interval")
    assert found == scores(targets, predicted, LABELS)
    assert found["samples"] == 9
    for score in COMPARED:
        assert interval[score]["low"] < found[score] < interval[score]["high"]


def test_a_sample_that_several_folds_test_counts_once() -> None:
    again = trial(["r", "y"], [2, 0], [2, 0], train=7)
    found = measured([TRIALS[0], again])["pooled"]
    # The wrong answer to r, of the first fold, is the one that counts.
    assert found["samples"] == 4
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert len(cross_validation.predictions([TRIALS[0], again], LABELS)) == 5


def test_it_is_told_in_a_line_for_each_score() -> None:
    found = measured(TRIALS)
    json.dumps(found, allow_nan=False)
    lines = cross_validation.told(found).splitlines()
    assert lines[0] == "3 folds, 9 test samples"
    assert lines[1].startswith("accuracy: 0.667 +- 0.333 over folds (")
    assert [line.split(":")[0] for line in lines[1:]] == list(COMPARED)


def test_without_folds_there_is_a_note_and_tables_without_rows() -> None:
    found = measured([])
    assert found == {"note": cross_validation.NOTE}
    assert cross_validation.told(found) == cross_validation.NOTE
    assert cross_validation.by_fold([], LABELS).empty
    assert list(cross_validation.predictions([], LABELS)) == [
        "fold", "guid", "label", "predicted", "p_a", "p_1", "p_NA"
    ]  # fmt: skip


def test_the_module_does_not_load_torch() -> None:
    code = (
        "import sys; from sentifuse.evaluation import cross_validation; "
        "print([name for name in ('torch', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    assert done.stdout == "[]\n"
