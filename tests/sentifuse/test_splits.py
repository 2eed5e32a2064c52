from collections import Counter
from pathlib import Path

import pytest
from sklearn.model_selection import train_test_split

from sentifuse import manifest, splits
from sentifuse.errors import UserError
from sentifuse.manifest import LabelRow

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "mvsa"
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
    parts = splits.assign(rows, seed=seed, val_size=0.1, test_size=0.1)
    for name, members in expected.items():
        own = {row.guid for row, part in zip(rows, parts, strict=True) if part == name}
        assert own == members


def test_4000_rows_give_3200_400_and_400_stratified() -> None:
    rows = rows_of(REAL_COUNTS)
    found = counted(rows, splits.assign(rows, seed=42, val_size=0.1, test_size=0.1))
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
    parts = Counter(splits.assign(rows, seed=1, val_size=val_size, test_size=test_size))
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
    parts = splits.assign(rows, seed=1, val_size=val_size, test_size=test_size)
    assert Counter(parts) == expected
    for part in counted(rows, parts).values():
        assert part["a"] == 2 * part["b"]


def test_the_same_seed_gives_the_same_parts_and_another_one_others() -> None:
    rows = rows_of({"a": 40, "b": 40})
    first, again, other = (
        splits.assign(rows, seed=seed, val_size=0.1, test_size=0.1) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"^split: val_size 0\.5 \+ test_size 0\.5: must be below 1"
    ):
        splits.assign(rows_of({"a": 40, "b": 40}), seed=1, val_size=0.5, test_size=0.5)


@pytest.mark.parametrize("counts", [{"a": 1, "b": 30}, {"a": 2, "b": 2}, {"a": 3, "b": 3}])
def test_too_few_rows_of_a_label_are_an_error_of_one_line(counts: dict[str, int]) -> None:
    with pytest.raises(UserError) as error:
        splits.assign(rows_of(counts), seed=1, val_size=0.1, test_size=0.1)
    text = str(error.value)
    assert text.startswith(
        f"split: {sum(counts.values())} labelled rows cannot be split with val_size 0.1"
    )
    assert "\n" not in text


def test_the_table_keeps_file_order_and_ends_with_the_rows_to_predict() -> None:
    labelled = [LabelRow("b", "x"), LabelRow("a", "y")]
    table = splits.table(
        labelled, ["test", "train"], [LabelRow("d", "null"), LabelRow("c", "null")]
    )
    assert list(table.columns) == ["guid", "label", "split"]
    assert table.to_numpy().tolist() == [
        ["b", "x", "test"],
        ["a", "y", "train"],
        ["d", "", "predict"],
        ["c", "", "predict"],
    ]


def test_every_labelled_row_needs_a_part() -> None:
    with pytest.raises(ValueError, match="zip"):
        splits.table([LabelRow("b", "x")], [], [])


def test_labelled_rows_are_assigned_anew_as_with_that_seed_and_the_rest_stays() -> None:
    rows = rows_of({"a": 40, "b": 40})
    predict = [LabelRow("p2", "null"), LabelRow("p1", "null")]
    sizes = {"val_size": 0.1, "test_size": 0.2}
    first, other = (
        splits.table(rows, splits.assign(rows, seed=seed, **sizes), predict) for seed in (1, 2)
    )
    before = first.copy()
    assert splits.reassign(first, seed=2, **sizes).equals(other)
    assert first.equals(before)
    assert not first.equals(other)


def test_the_table_reads_back_as_strings(tmp_path: Path) -> None:
    table = splits.table(
        [LabelRow("007", "NA"), LabelRow("1e3", "null")], ["train", "val"], [LabelRow("9", "null")]
    )
    path = tmp_path / "new" / "splits.csv"
    splits.write(table, path)
    assert splits.read(path).equals(table)
    assert path.read_bytes().startswith(b"guid,label,split\n007,NA,train\n")


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no real data beside this checkout")
def test_the_real_data_split_as_expected() -> None:
    labelled, predict = manifest.read_labels(REAL_DATA, LABELS)
    assert Counter(row.tag for row in labelled) == REAL_COUNTS
    assert len(predict) == 511
    parts = splits.assign(labelled, seed=42, val_size=0.1, test_size=0.1)
    assert Counter(parts) == {"train": 3200, "val": 400, "test": 400}
    assert counted(labelled, parts)["test"] == {"negative": 119, "neutral": 42, "positive": 239}
