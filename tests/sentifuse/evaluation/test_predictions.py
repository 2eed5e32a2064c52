from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentifuse.errors import UserError
from sentifuse.evaluation import predictions
from sentifuse.evaluation.incomplete import Predicted
from sentifuse.metrics.shapley import Attribution

LABELS = ("negative", "neutral", "positive")
PROBABILITIES = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25], [1 / 3, 1 / 3 + 1e-9, 1 / 3 - 1e-9]])
HEADER = (
    b"guid,tag,p_negative,p_neutral,p_positive,confidence,uncertain,"
    b"text_contribution,image_contribution,missing"
)


def of(probabilities: np.ndarray) -> Attribution:
    """A third of the gap to an even guess comes from the text, the rest from the image."""
    gap = probabilities - 1 / probabilities.shape[1]
    return Attribution(
        logits=np.log(probabilities).astype(np.float32),
        probabilities=probabilities,
        base=probabilities - gap,
        text=gap / 3,
        image=2 * gap / 3,
    )


def write(
    folder: Path,
    guids: list[str],
    probabilities: np.ndarray = PROBABILITIES,
    labels: tuple[str, ...] = LABELS,
    min_confidence: float = 0.0,
    missing: Sequence[str] | None = None,
) -> None:
    kinds = [""] * len(guids) if missing is None else list(missing)
    told = [Predicted(guids, kinds, of(probabilities))]
    assert predictions.write(folder, labels, told, min_confidence) == len(guids)


def test_the_submission_has_the_rows_in_the_order_given(tmp_path: Path) -> None:
    write(tmp_path / "new", ["9", "007", "a"])
    expected = b"guid,tag\n9,positive\n007,negative\na,neutral\n"
    assert (tmp_path / "new" / "submission.txt").read_bytes() == expected


def test_the_table_adds_probabilities_by_name_and_what_the_predicted_class_owes_to_whom(
    tmp_path: Path,
) -> None:
    write(tmp_path, ["9", "007", "a"], missing=["", "image", "image+text"])
    assert (tmp_path / "predictions.csv").read_bytes().splitlines() == [
        HEADER,
        b"9,positive,0.100000,0.200000,0.700000,0.700000,false,0.122222,0.244444,",
        b"007,negative,0.500000,0.250000,0.250000,0.500000,false,0.055556,0.111111,image",
        b"a,neutral,0.333333,0.333333,0.333333,0.333333,false,0.000000,0.000000,image+text",
    ]


def test_rows_strictly_below_the_least_confidence_are_uncertain(tmp_path: Path) -> None:
    write(tmp_path, ["9", "007", "a"], min_confidence=0.5)
    table = pd.read_csv(tmp_path / "predictions.csv", dtype=str)
    assert table["uncertain"].tolist() == ["false", "false", "true"]
    write(tmp_path, ["9", "007", "a"], min_confidence=np.nextafter(0.5, 1))
    table = pd.read_csv(tmp_path / "predictions.csv", dtype=str)
    assert table["uncertain"].tolist() == ["false", "true", "true"]


def test_the_submission_does_not_know_of_uncertainty(tmp_path: Path) -> None:
    for name, least in (("all", 0.0), ("none", 1.0)):
        write(tmp_path / name, ["9", "007", "a"], min_confidence=least)
    plain, marked = ((tmp_path / name / "submission.txt").read_bytes() for name in ("all", "none"))
    assert plain == marked
    assert plain.count(b"\n") == 4
    table = pd.read_csv(tmp_path / "none" / "predictions.csv", dtype=str)
    assert table["uncertain"].tolist() == ["true"] * 3
    assert table["tag"].tolist() == ["positive", "negative", "neutral"]


def test_written_probabilities_sum_to_one(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=200)
    write(tmp_path, [str(row) for row in range(200)], rows)
    table = pd.read_csv(tmp_path / "predictions.csv")
    probabilities = table[[f"p_{label}" for label in LABELS]]
    # Three roundings of half a millionth each.
    assert np.abs(probabilities.sum(axis=1) - 1).max() <= 1.5e-6 + 1e-12
    assert table["confidence"].tolist() == probabilities.max(axis=1).tolist()


def test_of_equal_probabilities_the_first_class_is_taken(tmp_path: Path) -> None:
    write(tmp_path, ["1"], np.array([[0.5, 0.5]]), ("b", "a"))
    assert (tmp_path / "submission.txt").read_text(encoding="utf-8") == "guid,tag\n1,b\n"


def test_nothing_to_predict_leaves_the_headers(tmp_path: Path) -> None:
    write(tmp_path, [], np.zeros((0, 3)), min_confidence=0.5)
    assert (tmp_path / "submission.txt").read_bytes() == b"guid,tag\n"
    assert (tmp_path / "predictions.csv").read_bytes() == HEADER + b"\n"


def test_rows_that_come_in_parts_are_written_as_one_table(tmp_path: Path) -> None:
    guids, kinds = ["9", "007", "a"], ["", "text", "image"]
    write(tmp_path / "whole", guids, missing=kinds)
    told = [
        Predicted(guids[part], kinds[part], of(PROBABILITIES[part]))
        for part in (slice(0, 2), slice(2, 3))
    ]
    assert predictions.write(tmp_path / "parts", LABELS, told, 0.0) == 3
    for name in ("submission.txt", "predictions.csv"):
        expected = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "parts" / name).read_bytes() == expected


def test_what_fails_half_way_leaves_no_file(tmp_path: Path) -> None:
    def told() -> Iterator[Predicted]:
        yield Predicted(["9"], [""], of(PROBABILITIES[:1]))
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        predictions.write(tmp_path, LABELS, told(), 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", range(3))
def test_probabilities_that_are_no_numbers_are_not_written(place: int, tmp_path: Path) -> None:
    """The class with the highest of them would be the first one."""
    probabilities = PROBABILITIES.copy()
    probabilities[place] = np.nan
    with pytest.raises(UserError, match=f"^guid {'abc'[place]}: the probabilities are NaN"):
        write(tmp_path, list("abc"), probabilities)
    assert list(tmp_path.iterdir()) == []
