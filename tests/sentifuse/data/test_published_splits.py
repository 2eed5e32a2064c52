"""Tests of published splits: both forms of the file, every way to be wrong, and the parts of the rows."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sentifuse.data import published_splits
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError

FOLD = {"1": "train", "2": "train", "3": "val", "4": "test"}
OBJECT = {"train": [1, "2"], "val": ["3"], "test": [4]}


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "split.csv"
    path.write_bytes(text.encode())
    return path


def json_file(folder: Path, document: Any) -> Path:
    path = folder / "split.json"
    text = document if isinstance(document, str) else json.dumps(document)
    path.write_text(text, encoding="utf-8")
    return path


def rows(tags: str) -> list[LabelRow]:
    """Rows 0, 1, ... with these tags of one letter."""
    return [LabelRow(str(number), tag) for number, tag in enumerate(tags)]


# Reading


@pytest.mark.parametrize(
    "text",
    [
        "id,split\n1,train\n2,train\n3,val\n4,test\n",
        "guid,split\n1,train\n2,train\n3,valid\n4,test",
        "\ufeffsplit,id\r\ntrain,1\r\n\r\n Train , 2\r\nvalidation,3\r\ntest,4\r\n",
        "id,split\n1,train\n2,train\n3,dev\n4,test\n1,train\n",
    ],
    ids=["id", "guid, valid", "other order, BOM, CRLF, spaces", "dev, an id twice alike"],
)
def test_a_table_names_the_part_of_each_id(tmp_path: Path, text: str) -> None:
    assert published_splits.read(csv_file(tmp_path, text)) == [FOLD]


@pytest.mark.parametrize(
    "document",
    [
        OBJECT,
        [OBJECT],
        {"train": ["1", 2], "validation": [3], "test": ["4"]},
        {"Train": [1, 2], "dev": [3], "test": [4]},
    ],
)
def test_an_object_has_the_ids_of_each_part_as_numbers_or_text(
    tmp_path: Path, document: Any
) -> None:
    assert published_splits.read(json_file(tmp_path, document)) == [FOLD]


def test_folds_come_in_the_order_of_their_numbers_or_of_the_list(tmp_path: Path) -> None:
    other = {"1": "test", "4": "train"}
    table = "fold,id,split\n10,1,test\n10,4,train\n9,1,train\n9,2,train\n9,3,val\n9,4,test\n"
    assert published_splits.read(csv_file(tmp_path, table)) == [FOLD, other]
    listed = json_file(tmp_path, [OBJECT, {"train": [4], "test": [1]}])
    assert published_splits.read(listed) == [FOLD, other]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"line 1: '': expected the columns id \(or guid\), split and"),
        ("id,split\n", "no ids in it"),
        ("id,part\n1,train\n", "line 1: 'id,part': expected the columns"),
        ("id,split,label\n1,train,x\n", "line 1: 'id,split,label': expected"),
        ("id,guid,split\n1,1,train\n", "line 1: 'id,id,split': expected"),
        ("id;split\n1;train\n", "line 1: 'id;split': expected .* separated by commas"),
        ("id,split\n1,train\n2\n", "line 3: 1 fields: expected 2: id,split"),
        ("id,split\n1,train,0\n", "line 2: 3 fields: expected 2: id,split"),
        ("id,split\n1,train\n2,holdout\n", "line 3: 'holdout': no such part: expected train, val"),
        ("id,split\n1,\n", "line 2: '': no such part"),
        ("id,split\n,train\n", "line 2: an empty id"),
        ("id,split,fold\n1,train,one\n", "line 2: fold 'one': expected a whole number"),
        ("id,split,fold\n1,train,-1\n", "line 2: fold '-1': expected a whole number"),
        (
            "id,split\n1,train\n2,test\n1,test\n2,dev\n",
            r"2 ids are in two parts of one fold: 1 \(train, then test, line 4\); "
            r"2 \(test, then val, line 5\): leave one",
        ),
        ("id,split\n1,train\n2,val\n", "no sample is for test: a published split needs train"),
        ("id,split\n1,test\n", "no sample is for train"),
        (
            "id,split,fold\n1,train,1\n2,test,1\n1,train,2\n2,train,2\n",
            "fold 2: no sample is for test",
        ),
        ('id,split\n"1,train\n', r"line \d: .*expected|line \d: "),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(UserError, match=rf"^{path}: (?:{told})") as error:
        published_splits.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("", "not JSON: Expecting value"),
        ('{"train": [1], "test": [2', "not JSON: "),
        ('{"train": [1], "train": [3], "test": [2]}', "not JSON: a key stands twice among train, "),
        ([], "no ids in it"),
        ({}, "fold 0: no ids in it"),
        ([OBJECT, {"train": []}], "fold 1: no ids in it"),
        (3, r"'3': expected an object such as \{\"train\": "),
        (["1", "2"], "'1': expected an object such as"),
        ({"train": "1", "test": ["2"]}, "fold 0, 'train': expected a list of ids"),
        ({"train": {"a": 1}, "test": ["2"]}, "fold 0, 'train': expected a list of ids"),
        ({"train": [1.0], "test": [2]}, "fold 0, 'train': '1.0': expected an id, as text or a "),
        ({"train": [True], "test": [2]}, "fold 0, 'train': 'True': expected an id"),
        ({"train": [None], "test": [2]}, "fold 0, 'train': 'None': expected an id"),
        ({"train": [[1]], "test": [2]}, r"fold 0, 'train': '\[1\]': expected an id"),
        ({"train": [" "], "test": [2]}, "fold 0, 'train': an empty id"),
        ({"train": [1], "tests": [2]}, "fold 0, 'tests': 'tests': no such part: expected train"),
        ({"train": [1], "test": ["1"]}, r"1 ids are in two parts of one fold: 1 \(train, then "),
        ({"train": [1], "val": [2]}, "no sample is for test"),
        ([OBJECT, {"test": [2]}], "fold 1: no sample is for train"),
    ],
)
def test_a_wrong_document_is_refused_in_one_line(tmp_path: Path, document: Any, told: str) -> None:
    path = json_file(tmp_path, document)
    with pytest.raises(UserError, match=rf"^{path}: {told}") as error:
        published_splits.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["split.csv", "split.json"])
def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match=rf"^{path}: No such file.*: expected the file of split"):
        published_splits.read(path)
    path.write_bytes(b"id,split\n\xe9,train\n")
    with pytest.raises(UserError, match=rf"^{path}: not UTF-8 text at byte 9$"):
        published_splits.read(path)


# Ids


def test_ids_without_a_sample_are_counted_and_the_first_are_listed() -> None:
    folds = [{"0": "train", "x": "test"}, {"1": "train", "y\n": "test", "x": "test"}]
    found = published_splits.unknown(folds, rows("ab"))
    assert found == ["x", "y\n"]
    with pytest.raises(UserError, match=r"^f: 2 ids without a labelled sample .*: x; 'y\\n'\. Is"):
        published_splits.refuse("f", found)
    published_splits.refuse("f", published_splits.unknown([{"0": "train"}], rows("ab")))
    with pytest.raises(UserError, match=r"12 ids .*; and 2 more"):
        published_splits.refuse("f", [str(number) for number in range(12)])


# Parts


def test_rows_that_the_split_does_not_name_are_unused() -> None:
    found = published_splits.assign("f", rows("abaaa"), {}, FOLD, seed=1, val_size=0.5)
    assert found == ["unused", "train", "train", "val", "test"]


def test_without_validation_a_share_of_train_is_drawn_stratified_and_in_whole_groups() -> None:
    made = rows("ab" * 40)
    fold = {row.guid: "test" if int(row.guid) < 20 else "train" for row in made[:-2]}
    # Twins: 20 with 22, 24 with 26, ...; 18 with 40 across the parts, which cannot be helped.
    groups = {str(n): str(n // 4 * 4 + n % 2) for n in range(20, 80)} | {"18": "40"}
    found = published_splits.assign("f", made, groups, fold, seed=1, val_size=0.2)
    assert found[:20] == ["test"] * 20
    assert found[-2:] == ["unused", "unused"]
    assert Counter(found[20:-2]) == {"train": 46, "val": 12}
    for first in range(20, 76, 4):
        assert found[first] == found[first + 2]
    drawn = [row.tag for row, part in zip(made, found, strict=True) if part == "val"]
    assert Counter(drawn) == {"a": 6, "b": 6}
    again = published_splits.assign("f", made, groups, fold, seed=1, val_size=0.2)
    other = published_splits.assign("f", made, groups, fold, seed=2, val_size=0.2)
    assert again == found != other
    assert "val" not in published_splits.assign("f", made, groups, fold, seed=1, val_size=0.0)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_split_whose_ids_are_of_other_data_leaves_a_part_empty(part: str) -> None:
    kept = {guid: own for guid, own in FOLD.items() if own != part} | {"other": part}
    with pytest.raises(UserError, match=f"^f: no sample is for {part}: "):
        published_splits.assign("f", rows("aaaaa"), {}, kept, seed=1, val_size=0.5)


def test_too_few_rows_to_draw_validation_from_are_told() -> None:
    with pytest.raises(UserError, match=r"^split: 2 labelled rows cannot be split with val_size"):
        published_splits.assign("f", rows("abb"), {}, {"0": "train", "1": "train", "2": "test"},
                                seed=1, val_size=0.5)  # fmt: skip
