"""Tests of folds: how the rows are split, and the table of all folds."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sentifuse.config.recipe import Split
from sentifuse.data import fold_table, folds, splits
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError
from sentifuse.runtime import files

ONE = Split(seed=3, val_size=0.2, test_size=0.2, group_duplicates=True, file=None, folds=0)
ROWS = [LabelRow(str(number), "ab"[number % 2]) for number in range(60)]
# Pairs of one label each.
GROUPS = {str(number): str(number // 4 * 4 + number % 2) for number in range(60)}


def make(how: Split, published: list[dict[str, str]] | None = None) -> list[list[str]]:
    return folds.make(ROWS, GROUPS, how, published or [], "f")


def test_one_split_is_that_of_the_sizes() -> None:
    expected = splits.assign(ROWS, GROUPS, seed=3, val_size=0.2, test_size=0.2)
    assert make(ONE) == [expected]


@pytest.mark.parametrize("count", [3, 5])
def test_each_row_is_tested_once_and_validates_once_and_groups_stay_together(count: int) -> None:
    found = make(replace(ONE, folds=count))
    assert len(found) == count
    for parts in zip(*found, strict=True):
        assert Counter(parts) == {"test": 1, "val": 1, "train": count - 2}
    for number, parts in enumerate(found):
        for first in range(0, 60, 4):
            assert parts[first] == parts[first + 2]
        # What validates in one fold is tested in the next.
        after = found[(number + 1) % count]
        assert [part == "val" for part in parts] == [part == "test" for part in after]
        for part in ("val", "test"):
            tags = Counter(row.tag for row, own in zip(ROWS, parts, strict=True) if own == part)
            assert abs(tags["a"] - tags["b"]) <= 2


def test_published_folds_are_taken_as_they_are() -> None:
    first = {"0": "train", "1": "val", "2": "test"}
    second = {"0": "test", "1": "val", "2": "train"}
    found = make(ONE, [first, second])
    assert [parts[:3] for parts in found] == [["train", "val", "test"], ["test", "val", "train"]]
    assert {part for parts in found for part in parts[3:]} == {"unused"}
    with pytest.raises(UserError, match=r"^f: fold 1: no sample is for test: "):
        make(ONE, [first, {"0": "train"}])


def tables(how: Split) -> list[pd.DataFrame]:
    return [splits.table(ROWS, parts, [LabelRow("p", "null")], GROUPS) for parts in make(how)]


def test_one_split_has_a_table_without_rows() -> None:
    found = fold_table.make(tables(ONE))
    assert files.as_csv(found) == "guid,fold,split\n"


def test_the_split_of_each_fold_is_read_back(tmp_path: Path) -> None:
    made = tables(replace(ONE, folds=3))
    path = tmp_path / "folds.csv"
    files.write_csv(path, fold_table.make(made))
    found = fold_table.read(path)
    assert len(found) == 3 * len(ROWS)
    for number, expected in enumerate(made):
        assert fold_table.of(made[0], found, number).equals(expected)
