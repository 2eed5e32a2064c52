"""Every layout lists the same samples; what is wrong with one is told."""

import csv
import json
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentifuse.config.recipe import COLUMNS, Columns
from sentifuse.data import layouts, locations, raw_data, tables, tar_shards
from sentifuse.data.raw_data import RawData
from sentifuse.errors import UserError
from tests import packed
from tests.raw_files import HEADER, encoded, label_files, noise, sample_files

LABELS = ("negative", "positive")
HEAD = ["id", "image", "text", "label"]


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """Twenty labelled samples and five to predict, whose guids are not in order."""
    guids = [f"g{7 * number % 25}" for number in range(25)]
    suffixes = {guid: (".png", ".jpg", ".webp")[number % 3] for number, guid in enumerate(guids)}
    root = sample_files(tmp_path / "course", suffixes)
    (root / "data" / "g3.txt").write_text("100 % “so”,\nsad 😢 http://t.co/x", encoding="utf-8")
    train = "".join(f"{guid},{LABELS[number % 2]}\n" for number, guid in enumerate(guids[:20]))
    predict = "".join(f"{guid},null\n" for guid in guids[20:])
    return label_files(root, HEADER + train, HEADER + predict)


def read(root: Path, columns: Columns = COLUMNS) -> RawData:
    return raw_data.read(root, LABELS, columns)


def told(found: RawData) -> list[tuple[str, str]]:
    """The guid and the reason of each problem."""
    return [(each.guid, each.reason) for each in found.problems]


@pytest.mark.parametrize("layout", packed.PACKERS)
def test_a_packed_data_set_has_the_same_samples_in_the_same_order(
    course: Path, tmp_path: Path, layout: str
) -> None:
    root = packed.pack(layout, course, tmp_path / "packed")
    expected, found = read(course), read(root)
    assert found.problems == found.notes == []
    assert found.listing.rows.labelled == expected.listing.rows.labelled
    assert [row.guid for row in found.listing.rows.predict] == [
        row.guid for row in expected.listing.rows.predict
    ]
    same = ["guid", "image_sha256", "text_sha256", "image_hash", "clean_text"]
    assert found.samples[same].equals(expected.samples[same])
    for row in found.samples.itertuples():
        assert (
            locations.read(str(row.image))
            == next(
                path for path in course.glob(f"data/{row.guid}.*") if path.suffix != ".txt"
            ).read_bytes()
        )
        assert (
            locations.read(str(row.text)).decode()
            == (course / "data" / f"{row.guid}.txt").read_text()
        )
    assert not list(root.rglob("*.txt"))  # nothing is unpacked


# The folder


def test_a_folder_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.root: .*nowhere.*no such folder"):
        layouts.read(tmp_path / "nowhere", LABELS, COLUMNS)


def test_a_folder_without_data_is_told_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is none; expected samples\.csv, .*train\.txt"):
        layouts.read(tmp_path, LABELS, COLUMNS)


def test_two_layouts_in_one_folder_are_refused(course: Path) -> None:
    (course / "samples.csv").touch()
    with pytest.raises(UserError, match=r"there are samples\.csv and train\.txt: keep one"):
        read(course)


@pytest.mark.parametrize("name", ["samples.csv", "samples.jsonl", "a.parquet", "a.tar"])
def test_a_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"{name}: a link out of .*put the file itself there"):
        read(tmp_path / "root")


# Rows of any table


def table(root: Path, rows: Sequence[Sequence[Any]], head: Sequence[str] = HEAD) -> Path:
    """A CSV file with `rows`, beside two pictures, `a.png` and `b.png`."""
    root.mkdir(exist_ok=True)
    for number, name in enumerate("ab"):
        (root / f"{name}.png").write_bytes(encoded(_image(number)))
    with (root / "samples.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return root


def _image(number: int) -> Any:
    from PIL import Image

    return Image.fromarray(noise(number))


SOUND = [["1", "a.png", "sad", "negative"], ["2", "b.png", "glad", "positive"]]


def test_a_row_without_a_label_is_to_be_predicted(tmp_path: Path) -> None:
    rows = [["9", "b.png", "what", ""], *SOUND, ["8", "a.png", "who", "null"]]
    found = read(table(tmp_path, rows))
    assert [row.guid for row in found.listing.rows.predict] == ["9", "8"]
    assert [row.guid for row in found.listing.rows.labelled] == ["1", "2"]
    assert found.problems == []


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (["3", "a.png", "x", "joy"], "unknown tag", "'joy' is not one of negative, positive"),
        (["1", "a.png", "x", "negative"], "guid stands twice", ""),
        (["1", "a.png", "x", "positive"], "guid stands twice with different tags", ""),
        (["a/b", "a.png", "x", "negative"], "guid is not a plain file name", ""),
        (["3", "a.png", "x"], "wrong number of fields", ""),
        (["3", "a.png", "x", "negative", "y"], "wrong number of fields", ""),
        (["3", "", "x", "negative"], "no image", "image is empty"),
        (["3", "c.png", "x", "negative"], "no image file", "samples.csv: line 4"),
        (["3", "../a.png", "x", "negative"], "path out of the data set", "'../a.png'"),
        (["3", "x/../../a.png", "x", "negative"], "path out of the data set", ""),
        (["3", "/etc/hostname", "x", "negative"], "path out of the data set", "relative to"),
        (["3", "samples.csv", "x", "negative"], "not an image", ""),
        (["3", "a.png", "", "negative"], "text empty", "0 bytes"),
        (["3", "a.png", " ", "negative"], "text empty", "1 bytes"),
    ],
)
def test_a_bad_row_is_told_and_the_others_stay(
    tmp_path: Path, row: list[str], reason: str, detail: str
) -> None:
    found = read(table(tmp_path / "root", [*SOUND, row]))
    assert {each.reason for each in found.problems} == {reason}
    assert detail in found.problems[-1].detail
    assert "root" in found.problems[-1].file
    usable = raw_data.usable(found, tmp_path, LABELS, "skip") if row[0] != "1" else None
    if usable is not None:
        assert [each.guid for each in usable.labelled] == ["1", "2"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    root = table(tmp_path / "root", [*SOUND, ["3", "c.png", "x", "negative"]])
    (tmp_path / "c.png").write_bytes((root / "a.png").read_bytes())
    (root / "c.png").symlink_to(tmp_path / "c.png")
    assert told(read(root)) == [("3", "link out of the data set")]
    (root / "c.png").unlink()
    (tmp_path / "folder").mkdir()
    (tmp_path / "c.png").rename(tmp_path / "folder" / "c.png")
    (root / "folder").symlink_to(tmp_path / "folder")
    rows = [*SOUND, ["3", "folder/c.png", "x", "negative"]]
    assert told(read(table(root, rows))) == [("3", "link out of the data set")]


def test_without_a_column_of_guids_they_are_the_numbers_of_the_rows(tmp_path: Path) -> None:
    found = read(table(tmp_path, [row[1:] for row in SOUND], HEAD[1:]))
    assert [row.guid for row in found.listing.rows.labelled] == ["00000000", "00000001"]


def test_a_text_may_be_the_path_of_a_file(tmp_path: Path) -> None:
    head = ["id", "image", "text_file", "label"]
    rows = [["1", "a.png", "a.txt", "negative"], ["2", "b.png", "b.txt", "positive"]]
    (tmp_path / "a.txt").write_bytes("开心".encode("gbk"))
    found = read(table(tmp_path, rows, head))
    assert told(found) == [("2", "no text file")]
    assert list(found.samples["clean_text"]) == ["开心", ""]


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    columns = replace(COLUMNS, id="tweet", image="photo", text="caption", label="sentiment")
    head = ["tweet", "photo", "caption", "sentiment"]
    assert read(table(tmp_path, SOUND, head), columns).problems == []


@pytest.mark.parametrize(
    ("changes", "head", "message"),
    [
        ({}, ["id", "picture", "text", "label"], r"no column 'image' \(data\.columns\.image\); there "
         r"are: 'id', 'picture', 'text', 'label'"),
        ({}, ["id", "image", "caption", "label"], r"no column 'text' \(data\.columns\.text\)"),
        ({"label": "mood"}, HEAD, r"no column 'mood' \(data\.columns\.label\)"),
        ({}, ["id;image;text;label"], r"separated by ';'"),
    ],
)  # fmt: skip
def test_a_table_that_lacks_a_column_is_refused(
    tmp_path: Path, changes: dict[str, str], head: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(table(tmp_path, SOUND, head), replace(COLUMNS, **changes))


def test_parts_and_labels_of_one_modality_are_read_where_there_are_any(tmp_path: Path) -> None:
    head = [*HEAD, "split", "text_label", "image_label"]
    rows = [
        [*SOUND[0], "train", "negative", "neutral"],
        [*SOUND[1], "Validation", "", ""],
        ["3", "a.png", "x", "negative", "test", "negative", ""],
        ["4", "b.png", "x", "positive", "predict", "", ""],
        ["5", "b.png", "x", "positive", "", "", ""],
        ["6", "b.png", "x", "positive", "holdout", "", ""],
        ["7", "b.png", "x", "", "train", "", ""],
    ]
    found = read(table(tmp_path, rows, head))
    assert told(found) == [("6", "unknown part"), ("7", "no tag")]
    assert found.listing.parts == {"1": "train", "2": "val", "3": "test", "7": "train"}
    assert found.listing.modality_labels == {"1": ("negative", "neutral"), "3": ("negative", "")}
    assert [row.guid for row in found.listing.rows.predict] == ["4"]
    ignored = read(table(tmp_path, rows[:5], head), replace(COLUMNS, split=None))
    assert ignored.listing.parts == {}


# CSV


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"id,image,text,label\n1,a.png,caf\xe9,negative\n", r"samples\.csv: not UTF-8 text"),
        (b'id,image,text,label\n1,a.png,"x"y,negative\n', r"samples\.csv: after line 1: "),
        (b'id,image,text,label\n1,a.png,"x,negative\n', r"samples\.csv: after line 1: "),
        (b"", r"no column 'image'.*there are: none"),
    ],
    ids=["latin-1", "quotes", "open quote", "empty"],
)
def test_a_csv_file_that_cannot_be_read_is_refused(
    tmp_path: Path, raw: bytes, message: str
) -> None:
    (tmp_path / "samples.csv").write_bytes(raw)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").mkdir()
    with pytest.raises(UserError, match=r"samples\.csv: cannot be read: Is a directory"):
        read(tmp_path)


# JSONL


def lines(root: Path, *rows: object) -> Path:
    table(root, [])
    (root / "samples.csv").unlink()
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    (root / "samples.jsonl").write_text(text, encoding="utf-8")
    return root


def test_numbers_are_guids_and_labels_too(tmp_path: Path) -> None:
    root = lines(
        tmp_path,
        {"id": 1, "image": "a.png", "text": "x", "label": 0},
        "",
        {"id": 2, "image": "b.png", "text": "y", "label": 1},
    )
    found = raw_data.read(root, ("0", "1"), COLUMNS)
    assert found.problems == []
    assert [(row.guid, row.tag) for row in found.listing.rows.labelled] == [("1", "0"), ("2", "1")]


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({"text": 5}, "text: 5: expected text"),
        ({"image": ["a.png"]}, "image: ['a.png']: expected a path"),
        ({"image": "a\0.png"}, "expected a path"),
        ({"label": True}, "label: True: expected text or a whole number"),
        ({"label": 0.5}, "label: 0.5: expected text or a whole number"),
        ({"id": {"x": 1}}, "id: {'x': 1}: expected"),
    ],
)
def test_a_value_of_another_type_is_told(
    tmp_path: Path, values: dict[str, Any], detail: str
) -> None:
    sound = {"id": "1", "image": "a.png", "text": "x", "label": "negative"}
    root = lines(tmp_path, sound, {**sound, "id": "2"} | values)
    found = read(root)
    assert [each.reason for each in found.problems] == ["wrong type"]
    assert detail in found.problems[0].detail


@pytest.mark.parametrize("row", ["{", "[1]", '"x"', "5"])
def test_a_line_that_is_no_json_object_is_refused_with_its_number(tmp_path: Path, row: str) -> None:
    sound = {"id": "1", "image": "a.png", "text": "x", "label": "negative"}
    with pytest.raises(UserError, match=r"samples\.jsonl: line 2: .*JSON"):
        read(lines(tmp_path, sound, row))


# Parquet


def test_an_empty_image_of_a_parquet_file_is_told(tmp_path: Path) -> None:
    raw = encoded(_image(1))
    columns = {"id": ["1", "2", "3"], "image": [raw, None, b""], "text": ["x", "y", "z"]}
    label = ["negative", "positive", "positive"]
    pq.write_table(pa.table({**columns, "label": label}), tmp_path / "samples.parquet")
    assert told(read(tmp_path)) == [("2", "image empty"), ("3", "image empty")]


def test_a_parquet_file_may_have_paths(tmp_path: Path) -> None:
    table(tmp_path, [])
    (tmp_path / "samples.csv").unlink()
    values = [dict(zip(HEAD, row, strict=True)) for row in SOUND]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "samples.parquet")
    assert read(tmp_path).problems == []


def test_an_image_column_of_another_type_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [1], "text": ["x"]}), tmp_path / "samples.parquet")
    with pytest.raises(UserError, match=r"column 'image' has the type int64: expected paths, byt"):
        read(tmp_path)


def test_large_row_groups_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_MAX_GROUP", 1000)
    raw = bytes(range(256)) * 8
    pq.write_table(pa.table({"image": [raw], "text": ["x"]}), tmp_path / "samples.parquet")
    with pytest.raises(UserError, match=r"row group 0 has .*row_group_size=100"):
        read(tmp_path)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match=r"samples\.parquet: cannot be read: .*not a Parquet file"):
        read(tmp_path)


# Tar shards


def shard(path: Path, members: dict[str, bytes], mode: Any = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, raw in members.items():
            packed.add(tar, name, raw)


PICTURE = encoded(_image(1))


def test_members_are_taken_together_by_name_whatever_their_folder(tmp_path: Path) -> None:
    members = {
        "train/1.png": PICTURE,
        "train/1.txt": b"x",
        "train/1.cls": b"negative\n",
        "train/1.seg.png": b"not for us",
        "other/2.json": b'{"text": "y", "label": "positive", "split": "test"}',
        "other/2.PNG": PICTURE,
    }
    shard(tmp_path / "a.tar", members)
    found = read(tmp_path)
    assert found.problems == []
    assert [(row.guid, row.tag) for row in found.listing.rows.labelled] == [
        ("1", "negative"), ("2", "positive")
    ]  # fmt: skip
    assert found.listing.parts == {"2": "test"}
    assert list(found.samples["clean_text"]) == ["x", "y"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"3.txt": b"x", "3.cls": b"negative"}, "no image"),
        ({"3.png": PICTURE, "3.cls": b"negative"}, "no text"),
        ({"3.png": PICTURE, "3.txt": b"x", "3.json": b"{"}, "damaged member"),
        ({"3.png": PICTURE, "3.txt": b"x", "3.json": b"[1]"}, "damaged member"),
        ({"3.png": PICTURE, "3.txt": b"x", "3.cls": b"\xff"}, "damaged member"),
        ({"3.png": b"", "3.txt": b"x", "3.cls": b"negative"}, "image empty"),
        ({"3.png": PICTURE[:99], "3.txt": b"x", "3.cls": b"negative"}, "image cut off or damaged"),
    ],
)
def test_a_bad_sample_of_a_shard_is_told(
    tmp_path: Path, members: dict[str, bytes], reason: str
) -> None:
    sound = {"1.png": PICTURE, "1.txt": b"x", "1.cls": b"positive"}
    shard(tmp_path / "a.tar", sound | members)
    assert told(read(tmp_path)) == [("3", reason)]


def test_a_sample_that_stands_in_two_shards_is_told(tmp_path: Path) -> None:
    sound = {"1.png": PICTURE, "1.txt": b"x", "1.cls": b"positive"}
    for name in "ab":
        shard(tmp_path / f"{name}.tar", sound)
    assert told(read(tmp_path)) == [("1", "guid stands twice")]


def test_a_broken_or_compressed_shard_is_refused(tmp_path: Path) -> None:
    sound = {"1.png": PICTURE * 9, "1.txt": b"x", "1.cls": b"positive"}
    path = tmp_path / "a.tar"
    shard(path, sound)
    whole = path.read_bytes()
    # The last one is cut off within the picture.
    for raw in (b"no tar", whole[:300], whole[:1000]):
        path.write_bytes(raw)
        with pytest.raises(UserError, match=r"a\.tar: broken tar, or a compressed one"):
            list(tar_shards.read(path, COLUMNS))
    shard(path, sound, "w:gz")
    with pytest.raises(UserError, match=r"a\.tar: broken tar, or a compressed one"):
        read(tmp_path)
