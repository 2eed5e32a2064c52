from pathlib import Path

import numpy as np
import pandas as pd

from sentifuse import predictions

LABELS = ("negative", "neutral", "positive")
PROBABILITIES = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [1 / 3, 1 / 3 + 1e-9, 1 / 3 - 1e-9]])


def test_the_submission_has_the_rows_in_the_order_given(tmp_path: Path) -> None:
    predictions.write(tmp_path / "new", ["9", "007", "a"], LABELS, PROBABILITIES)
    expected = b"guid,tag\n9,positive\n007,negative\na,neutral\n"
    assert (tmp_path / "new" / "submission.txt").read_bytes() == expected


def test_the_table_adds_a_probability_for_each_class_by_name(tmp_path: Path) -> None:
    predictions.write(tmp_path, ["9", "007", "a"], LABELS, PROBABILITIES)
    assert (tmp_path / "predictions.csv").read_bytes().splitlines() == [
        b"guid,tag,p_negative,p_neutral,p_positive",
        b"9,positive,0.100000,0.200000,0.700000",
        b"007,negative,0.500000,0.250000,0.250000",
        b"a,neutral,0.333333,0.333333,0.333333",
    ]


def test_written_probabilities_sum_to_one(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=200)
    predictions.write(tmp_path, [str(row) for row in range(200)], LABELS, rows)
    table = pd.read_csv(tmp_path / "predictions.csv")
    sums = table[[f"p_{label}" for label in LABELS]].sum(axis=1)
    # Three roundings of half a millionth each.
    assert np.abs(sums - 1).max() <= 1.5e-6 + 1e-12


def test_of_equal_probabilities_the_first_class_is_taken(tmp_path: Path) -> None:
    predictions.write(tmp_path, ["1"], ("b", "a"), np.array([[0.5, 0.5]]))
    assert (tmp_path / "submission.txt").read_text(encoding="utf-8") == "guid,tag\n1,b\n"


def test_nothing_to_predict_leaves_the_headers(tmp_path: Path) -> None:
    predictions.write(tmp_path, [], LABELS, np.zeros((0, 3)))
    assert (tmp_path / "submission.txt").read_bytes() == b"guid,tag\n"
    assert (tmp_path / "predictions.csv").read_bytes() == (
        b"guid,tag,p_negative,p_neutral,p_positive\n"
    )
