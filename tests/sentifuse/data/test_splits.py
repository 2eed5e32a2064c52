import math
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from sklearn.model_selection import train_test_split

from sentifuse.data import label_files, splits
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError
from sentifuse.runtime import files
from tests.places import REAL_DATA, ROOT, on_real_data

LABELS = ("negative", "neutral", "positive")
REAL_COUNTS = {"positive": 2388, "negative": 1193, "neutral": 419}


def rows_of(counts: dict[str, int]) -> list[LabelRow]:
    """Rows in an order that mixes the labels."""
    tags = sorted(
        (index / count, label) for label, count in counts.items() for index in range(count)
    )
    return [LabelRow(f"g{7 * index % 10007}", label) for index, (_, label) in enumerate(tags)]


def counted(rows: list[LabelRow], parts: list[str]) -> dict[str, Counter[str]]:
    return {
        name: Counter(row.tag for row, part in zip(rows, parts, strict=True) if part == name)
        for name in sorted(set(parts))
    }


@pytest.mark.parametrize("seed", [0, 42])
def test_the_split_is_that_of_two_calls_of_train_test_split_in_file_order(seed: int) -> None:
    rows = rows_of({"a": 120, "b": 50, "c": 30})
    tags = {row.guid: row.tag for row in rows}
    guids = list(tags)
    train, rest = train_test_split(
        guids, test_size=0.2, random_state=seed, stratify=list(tags.values())
    )
    val, test = train_test_split(
        rest, test_size=0.5, random_state=seed, stratify=[tags[guid] for guid in rest]
    )
    expected = {"train": set(train), "val": set(val), "test": set(test)}
    parts = splits.assign(rows, {}, seed=seed, val_size=0.1, test_size=0.1)
    for name, members in expected.items():
        own = {row.guid for row, part in zip(rows, parts, strict=True) if part == name}
        assert own == members


def test_4000_rows_give_3200_400_and_400_stratified() -> None:
    rows = rows_of(REAL_COUNTS)
    found = counted(rows, splits.assign(rows, {}, seed=42, val_size=0.1, test_size=0.1))
    assert {name: part.total() for name, part in found.items()} == {
        "train": 3200, "val": 400, "test": 400
    }  # fmt: skip
    assert found["test"] == {"negative": 119, "neutral": 42, "positive": 239}
    assert found["train"]["positive"] in (1910, 1911)


@pytest.mark.parametrize(
    ("count", "val_size", "test_size", "val", "test"),
    [
        # 0.1 + 0.2 is 0.30000000000000004, of which sklearn would take the ceiling.
        (100, 0.1, 0.2, 10, 20),
        (1000, 0.1, 0.2, 100, 200),
        (100, 0.2, 0.1, 20, 10),
        # 0.2 / 0.3 must not be rounded up: 8 of 12, not 9.
        (40, 0.1, 0.2, 4, 8),
        (60, 0.05, 0.1, 3, 6),
        (200, 0.15, 0.15, 30, 30),
        (100, 0.1, 0.3, 10, 30),
        (100, 0.3, 0.6, 30, 60),
    ],
)
def test_parts_have_the_sizes_that_the_shares_say(
    count: int, val_size: float, test_size: float, val: int, test: int
) -> None:
    rows = rows_of({"a": count // 2, "b": count // 2})
    parts = Counter(splits.assign(rows, {}, seed=1, val_size=val_size, test_size=test_size))
    assert (parts["val"], parts["test"], parts["train"]) == (val, test, count - val - test)


@pytest.mark.parametrize(
    ("val_size", "test_size", "expected"),
    [
        (0.0, 0.0, {"train": 60}),
        (0.1, 0.0, {"train": 54, "val": 6}),
        (0.0, 0.1, {"train": 54, "test": 6}),
    ],
)
def test_a_part_of_size_zero_is_empty(
    val_size: float, test_size: float, expected: dict[str, int]
) -> None:
    rows = rows_of({"a": 40, "b": 20})
    parts = splits.assign(rows, {}, seed=1, val_size=val_size, test_size=test_size)
    assert Counter(parts) == expected
    for part in counted(rows, parts).values():
        assert part["a"] == 2 * part["b"]


def test_the_same_seed_gives_the_same_parts_and_another_one_others() -> None:
    rows = rows_of({"a": 40, "b": 40})
    first, again, other = (
        splits.assign(rows, {}, seed=seed, val_size=0.1, test_size=0.1) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("counts", [{"a": 1, "b": 30}, {"a": 2, "b": 2}, {"a": 3, "b": 3}])
def test_too_few_rows_of_a_label_are_an_error_of_one_line(counts: dict[str, int]) -> None:
    with pytest.raises(UserError) as error:
        splits.assign(rows_of(counts), {}, seed=1, val_size=0.1, test_size=0.1)
    text = str(error.value)
    assert text.startswith(
        f"split: {sum(counts.values())} labelled rows cannot be split with val_size 0.1"
    )
    assert "\n" not in text


@pytest.mark.parametrize(
    ("counts", "sizes", "told", "needed"),
    [
        # Each label has six rows: it is the shares that are too small.
        (dict.fromkeys("abcdefg", 6), (0.05, 0.2), "val's 0.05 of the 6 of 'a' is 0.3", 20),
        ({"a": 30, "b": 5}, (0.1, 0.1), "test's 0.1 of the 5 of 'b' is 0.5", 10),
        ({"b": 30, "a": 1}, (0.1, 0.1), "test's 0.1 of the 1 of 'a' is 0.1", 10),
        ({"a": 9, "b": 9, "c": 9}, (0.3, 0.65), "train's 0.05 of the 9 of 'a' is 0.45", 20),
        ({"a": 1, "b": 9}, (0.3, 0.0), "val's 0.3 of the 1 of 'a' is 0.3", 4),
    ],
)
def test_a_label_that_is_too_small_is_told_with_what_would_do(
    counts: dict[str, int], sizes: tuple[float, float], told: str, needed: int
) -> None:
    rows = rows_of(counts)
    with pytest.raises(UserError) as error:
        splits.assign(rows, {}, seed=42, val_size=sizes[0], test_size=sizes[1])
    message = str(error.value)
    assert f"every part needs one of each label, and {told}: " in message
    assert f"with these shares a label needs {needed}" in message
    found = re.search(r"; val_size (\S+) and test_size (\S+) would do$", message)
    assert bool(found) == (min(counts.values()) > 1 and sum(sizes) < 0.9)
    if found:
        val_size, test_size = map(float, found.groups())
        assert val_size + test_size > sum(sizes)
        parts = splits.assign(rows, {}, seed=42, val_size=val_size, test_size=test_size)
        assert set(parts) == {"train", "val", "test"}


@pytest.mark.parametrize("labels", ["ab", "abcdefg"])
@pytest.mark.parametrize("sizes", [(0.05, 0.2), (0.1, 0.1), (0.0, 0.03), (0.15, 0.07), (0.4, 0.4)])
def test_as_many_rows_as_a_label_is_told_to_need_are_enough(
    labels: str, sizes: tuple[float, float]
) -> None:
    few = rows_of({**dict.fromkeys(labels, 30), "z": 1})
    shares = {"val_size": sizes[0], "test_size": sizes[1]}
    with pytest.raises(UserError, match="a label needs") as error:
        splits.assign(few, {}, seed=1, **shares)
    needed = int(re.search(r"a label needs (\d+)", str(error.value))[1])  # type: ignore[index]
    enough = rows_of(dict.fromkeys(labels, needed))
    parts = splits.assign(enough, {}, seed=1, **shares)
    for part, found in counted(enough, parts).items():
        assert set(found) == set(labels), part


@pytest.mark.parametrize("seed", range(8))
def test_a_group_never_stands_in_two_parts_and_every_label_is_in_each(seed: int) -> None:
    rows = rows_of({"a": 200, "b": 90, "c": 60})
    rng = random.Random(seed)
    groups = {row.guid: f"group{int(rng.paretovariate(0.6))}" for row in rows if rng.random() < 0.6}
    assert max(Counter(groups.values()).values()) > 10
    parts = splits.assign(rows, groups, seed=seed, val_size=0.15, test_size=0.2)
    where: defaultdict[str, set[str]] = defaultdict(set)
    for row, part in zip(rows, parts, strict=True):
        where[groups.get(row.guid, row.guid)].add(part)
    assert max(len(found) for found in where.values()) == 1
    units = Counter(part for found in where.values() for part in found)
    assert units["val"] + units["test"] == math.ceil(0.35 * len(where))
    assert units["test"] == pytest.approx(0.2 * len(where), abs=1)
    for part in ("train", "val", "test"):
        assert set(counted(rows, parts)[part]) == {"a", "b", "c"}


def test_names_of_groups_change_nothing_and_groups_of_one_are_none() -> None:
    rows = rows_of({"a": 60, "b": 40})
    sizes = {"seed": 3, "val_size": 0.1, "test_size": 0.1}
    plain = splits.assign(rows, {}, **sizes)
    assert splits.assign(rows, {row.guid: f"x{row.guid}" for row in rows}, **sizes) == plain
    pairs = {row.guid: str(index // 2) for index, row in enumerate(rows)}
    renamed = {guid: f"{99 - int(name)}" for guid, name in pairs.items()}
    grouped = splits.assign(rows, pairs, **sizes)
    assert splits.assign(rows, renamed, **sizes) == grouped
    assert grouped[::2] == grouped[1::2]
    assert grouped != plain


def test_a_group_is_stratified_by_its_most_frequent_label() -> None:
    # 20 groups of labels a, a, b and 20 of b, b, a: half of each in every part, by groups.
    tags = {True: "aab", False: "bba"}
    rows = [
        LabelRow(f"{group}-{index}", tag)
        for group in range(40)
        for index, tag in enumerate(tags[group % 2 == 0])
    ]
    groups = {row.guid: row.guid.split("-")[0] for row in rows}
    parts = splits.assign(rows, groups, seed=5, val_size=0.1, test_size=0.1)
    assert counted(rows, parts)["test"] == {"a": 6, "b": 6}
    assert counted(rows, parts)["val"] == {"a": 6, "b": 6}


def test_the_order_of_the_rows_of_a_group_with_a_tie_does_not_matter() -> None:
    single = rows_of({"a": 30, "b": 30})
    sizes = {"seed": 0, "val_size": 0.2, "test_size": 0.2}
    found = []
    for tags in ("ba", "ab"):
        twins = [LabelRow(f"t{tag}", tag) for tag in tags]
        parts = splits.assign([*twins, *single], {"ta": "t", "tb": "t"}, **sizes)
        found.append(parts)
    assert found[0] == found[1]


def test_too_few_groups_of_a_label_are_counted_as_groups() -> None:
    rows = [*rows_of({"a": 30}), *(LabelRow(f"t{index}", "b") for index in range(20))]
    groups = {row.guid: "t" for row in rows if row.tag == "b"}
    assert splits.assign(rows, {}, seed=1, val_size=0.1, test_size=0.1)
    with pytest.raises(
        UserError,
        match=r"^split: 50 labelled rows in 31 groups \(split\.group_duplicates\) cannot be split with",
    ):
        splits.assign(rows, groups, seed=1, val_size=0.1, test_size=0.1)


def test_samples_are_counted_by_part_and_label() -> None:
    rows = rows_of({"b": 40, "a": 20})
    parts = splits.assign(rows, {}, seed=1, val_size=0.1, test_size=0.0)
    table = splits.table(rows, parts, [LabelRow("p", "null")], {})
    assert splits.counts(table) == {
        "train": {"a": 18, "b": 36},
        "val": {"a": 2, "b": 4},
        "predict": {"unlabelled": 1},
    }
    assert list(splits.counts(table)) == ["train", "val", "predict"]
    assert list(splits.counts(table)["train"]) == ["a", "b"]


def test_reading_the_table_does_not_import_sklearn() -> None:
    code = "import sys, sentifuse.data.splits; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_table_keeps_file_order_and_ends_with_the_rows_to_predict() -> None:
    labelled = [LabelRow("b", "x"), LabelRow("a", "y")]
    table = splits.table(
        labelled,
        ["test", "train"],
        [LabelRow("d", "null"), LabelRow("c", "null")],
        {"b": "b", "c": "b"},
    )
    assert list(table.columns) == ["guid", "label", "split", "group"]
    assert table.to_numpy().tolist() == [
        ["b", "x", "test", "b"],
        ["a", "y", "train", "a"],
        ["d", "", "predict", "d"],
        ["c", "", "predict", "b"],
    ]


def test_every_labelled_row_needs_a_part() -> None:
    with pytest.raises(ValueError, match="zip"):
        splits.table([LabelRow("b", "x")], [], [], {})


def test_labelled_rows_are_assigned_anew_as_with_that_seed_and_the_rest_stays() -> None:
    rows = rows_of({"a": 40, "b": 40})
    predict = [LabelRow("p2", "null"), LabelRow("p1", "null")]
    sizes = {"val_size": 0.1, "test_size": 0.2}
    groups = {"p1": rows[0].guid, rows[3].guid: rows[0].guid}
    first, other = (
        splits.table(rows, splits.assign(rows, groups, seed=seed, **sizes), predict, groups)
        for seed in (1, 2)
    )
    before = first.copy()
    assert splits.reassign(first, seed=2, **sizes).equals(other)
    assert first.equals(before)
    assert not first.equals(other)


def test_the_table_reads_back_as_strings(tmp_path: Path) -> None:
    table = splits.table(
        [LabelRow("007", "NA"), LabelRow("1e3", "null")],
        ["train", "val"],
        [LabelRow("9", "null")],
        {"9": "007"},
    )
    path = tmp_path / "new" / "splits.csv"
    files.write_csv(path, table)
    assert splits.read(path).equals(table)
    assert path.read_bytes().startswith(b"guid,label,split,group\n007,NA,train,007\n")


def test_rows_without_input_are_a_part_of_their_own_in_their_place() -> None:
    labelled = rows_of({"x": 10, "y": 10})
    predict = [LabelRow(guid, "null") for guid in ("p3", "p1", "p2")]
    parts = splits.assign(labelled, {}, seed=1, val_size=0.2, test_size=0.2)
    table = splits.table(labelled, parts, predict, {}, no_input={"p1"})
    assert list(table["guid"][-3:]) == ["p3", "p1", "p2"]
    assert list(table["split"][-3:]) == ["predict", "no_input", "predict"]
    assert splits.counts(table)["no_input"] == {"unlabelled": 1}
    again = splits.reassign(table, seed=2, val_size=0.2, test_size=0.2)
    assert list(again["split"][-3:]) == ["predict", "no_input", "predict"]
    assert Counter(again["split"][:-3]) == {"train": 12, "val": 4, "test": 4}


def test_unused_rows_are_counted_and_never_assigned_anew() -> None:
    labelled = rows_of({"x": 10, "y": 10})
    parts = ["unused"] * 4 + ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    table = splits.table(labelled, parts, [LabelRow("p", "null")], {})
    assert sum(splits.counts(table)["unused"].values()) == 4
    again = splits.reassign(table, seed=2, val_size=0.25, test_size=0.25)
    assert list(again["split"][:4]) == ["unused"] * 4
    assert Counter(again["split"][4:-1]) == {"train": 8, "val": 4, "test": 4}
    assert not again.equals(table)


@on_real_data
def test_the_real_data_split_as_expected() -> None:
    found = label_files.read(REAL_DATA, LABELS)
    labelled, predict = found.labelled, found.predict
    assert Counter(row.tag for row in labelled) == REAL_COUNTS
    assert len(predict) == 511
    parts = splits.assign(labelled, {}, seed=42, val_size=0.1, test_size=0.1)
    assert Counter(parts) == {"train": 3200, "val": 400, "test": 400}
    assert counted(labelled, parts)["test"] == {"negative": 119, "neutral": 42, "positive": 239}


def test_folds_keep_groups_together_and_share_out_each_label() -> None:
    rows = rows_of({"a": 120, "b": 50, "c": 30})
    groups = {row.guid: f"group {place // 2}" for place, row in enumerate(rows)}
    found = splits.folds(rows, groups, count=5, seed=1)
    of_group: defaultdict[str, set[int]] = defaultdict(set)
    for row, fold in zip(rows, found, strict=True):
        of_group[groups[row.guid]].add(fold)
    assert {len(own) for own in of_group.values()} == {1}
    for label, count in {"a": 120, "b": 50, "c": 30}.items():
        sizes = Counter(fold for row, fold in zip(rows, found, strict=True) if row.tag == label)
        assert set(sizes) == set(range(5))
        assert max(sizes.values()) - min(sizes.values()) <= 4, count


def test_another_seed_gives_other_folds_and_the_same_seed_the_same() -> None:
    rows = rows_of({"a": 60, "b": 40})
    first, again, other = (splits.folds(rows, {}, count=4, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_more_folds_than_groups_of_a_label_are_an_error_that_says_how_many_would_do() -> None:
    rows = rows_of({"a": 30, "b": 3})
    with pytest.raises(UserError, match=r"5 folds: the label 'b' has 3 groups.*3 folds or fewer"):
        splits.folds(rows, {}, count=5, seed=0)
