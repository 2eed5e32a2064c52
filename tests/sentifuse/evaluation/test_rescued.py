from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentifuse.evaluation import rescued
from sentifuse.evaluation.variants import Run, Variant
from sentifuse.runtime.files import as_csv
from sentifuse.training.loop import Fitted
from sentifuse.training.trial import Trial

LABELS = ("no", "yes")


def run(name: Any, seed: int, answers: dict[str, tuple[int, int]]) -> Run:
    """`answers`: guid -> class and predicted class."""
    targets, predicted = np.array(list(answers.values())).reshape(-1, 2).T
    trial = Trial(
        members=[Fitted([], 0, {}, "fp32")],
        train_samples=80,
        val={},
        guids=list(answers),
        targets=targets,
        logits=np.eye(2, dtype=np.float32)[predicted],
        temperature=1.0,
    )
    return Run(Variant(name, "concat", name), seed, seed, trial)


# Each split tests other samples.
RUNS = [
    run("multimodal", 1, {"9": (0, 0), "10": (1, 1)}),
    run("multimodal", 2, {"10": (1, 0), "7": (1, 0)}),
    run("text_only", 1, {"9": (0, 1), "10": (1, 1)}),
    run("text_only", 2, {"10": (1, 1), "7": (1, 1)}),
]


def test_a_sample_is_counted_in_the_runs_that_test_it() -> None:
    assert as_csv(rescued.table(RUNS, LABELS)) == (
        "guid,label,tested,right_multimodal,right_text_only\n7,yes,1,0,1\n9,no,1,1,0\n10,yes,2,1,2\n"
    )


def test_without_runs_the_table_has_no_rows() -> None:
    assert as_csv(rescued.table([], LABELS)) == "guid,label,tested\n"


def test_the_order_of_the_runs_does_not_matter() -> None:
    found = [rescued.table(runs, LABELS) for runs in (RUNS, [RUNS[i] for i in (1, 0, 3, 2)])]
    pd.testing.assert_frame_equal(*found)


def test_guids_that_do_not_fit_the_predictions_are_an_error() -> None:
    short = replace(RUNS[0].trial, guids=["9"])
    with pytest.raises(ValueError, match="zip"):
        rescued.table([replace(RUNS[0], trial=short)], LABELS)


def samples(*rows: tuple[int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["tested", "right_both", "right_one"])


@pytest.mark.parametrize(
    ("tested", "both", "one", "rescued_", "broken"),
    [
        (1, 1, 0, 1, 0),
        (1, 0, 1, 0, 1),
        (3, 2, 1, 1, 0),
        (3, 1, 2, 0, 1),
        (1, 1, 1, 0, 0),
        (1, 0, 0, 0, 0),
        (2, 1, 0, 0, 0),  # right in one of two runs: most are neither right nor wrong
        (2, 2, 1, 0, 0),
    ],
)
def test_rescued_is_right_with_it_and_wrong_without_in_most_runs(
    tested: int, both: int, one: int, rescued_: int, broken: int
) -> None:
    found = rescued.counts(samples((tested, both, one)), "both", "one", 0.95)
    assert (found["samples"], found["rescued"]["count"], found["broken"]["count"]) == (
        1, rescued_, broken
    )  # fmt: skip


def test_the_interval_is_wilsons() -> None:
    table = samples(*[(1, 1, 0)] * 10, *[(1, 1, 1)] * 90)
    found = rescued.counts(table, "both", "one", 0.95)
    z, share = 1.959964, 0.1
    middle = (share + z**2 / 200) / (1 + z**2 / 100)
    reach = z * np.sqrt(share * (1 - share) / 100 + z**2 / 40000) / (1 + z**2 / 100)
    assert found["rescued"] == {
        "count": 10,
        "low": pytest.approx(100 * (middle - reach), rel=1e-5),
        "high": pytest.approx(100 * (middle + reach), rel=1e-5),
    }
    assert found["broken"]["count"] == found["broken"]["low"] == 0
    narrow = rescued.counts(table, "both", "one", 0.5)["rescued"]
    assert found["rescued"]["low"] < narrow["low"] < 10 < narrow["high"] < found["rescued"]["high"]


def test_a_planted_modality_rescues_what_it_alone_tells() -> None:
    rng = np.random.default_rng(0)
    told_by_text = {str(index): index < 60 for index in range(100)}
    runs = []
    for seed in range(9):
        tested = [str(index) for index in rng.choice(100, size=40, replace=False)]
        truth = {guid: int(guid) % 2 for guid in tested}
        for name in ("multimodal", "text_only"):
            right = {guid: told_by_text[guid] or name == "multimodal" for guid in tested}
            answers = {
                guid: (target, target if right[guid] else 1 - target)
                for guid, target in truth.items()
            }
            runs.append(run(name, seed, answers))
    table = rescued.table(runs, LABELS)
    found = rescued.counts(table, "multimodal", "text_only", 0.95)
    wanted = {guid for guid in table["guid"] if not told_by_text[guid]}
    assert found["samples"] == len(table) > 90
    assert found["rescued"]["count"] == len(wanted)
    assert found["broken"]["count"] == 0
