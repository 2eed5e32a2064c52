import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from sentifuse import manifest
from sentifuse.errors import UserError
from sentifuse.manifest import LabelRow

LABELS = ("negative", "positive")
HEADER = "guid,tag\n"


def label_files(root: Path, train: str, predict: str | None = None) -> Path:
    root.mkdir(exist_ok=True)
    (root / "train.txt").write_text(train, encoding="utf-8")
    if predict is not None:
        (root / "test_without_label.txt").write_text(predict, encoding="utf-8")
    return root


def sample_files(root: Path, suffixes: Mapping[str, str]) -> Path:
    """An image with the given suffix, and a text, for every guid."""
    folder = root / "data"
    folder.mkdir(parents=True)
    for number, (guid, suffix) in enumerate(suffixes.items()):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / f"{guid}{suffix}")
        (folder / f"{guid}.txt").write_text(f"text of {guid}", encoding="utf-8")
    return root


def problems(root: Path, labels: tuple[str, ...] = LABELS) -> str:
    with pytest.raises(UserError) as error:
        manifest.read_labels(root, labels)
    assert "\n" not in str(error.value)
    return str(error.value)


# Label files


@pytest.mark.parametrize(
    "raw",
    [
        b"guid,tag\n3,positive\n1,negative\n",
        b"guid,tag\r\n3,positive\r\n1,negative\r\n",
        b"\xef\xbb\xbfguid,tag\n3,positive\n1,negative\n",
        b"guid,tag\n3,positive\n\n1,negative\n\n",
        b"guid, tag\n 3 , positive \n1,negative",
        b'"guid","tag"\n"3","positive"\n1,negative\n',
        b"guid,tag\r3,positive\r1,negative\r",
    ],
)
def test_rows_are_read_in_file_order_however_the_file_was_written(
    tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "train.txt").write_bytes(raw)
    rows = manifest.read_label_rows(tmp_path / "train.txt")
    assert rows == [LabelRow("3", "positive"), LabelRow("1", "negative")]


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.txt: no such file"):
        manifest.read_label_rows(tmp_path / "train.txt")


@pytest.mark.parametrize("first", ["", "1,positive\n", "guid;tag\n", "guid,tag,more\n", "tag,guid"])
def test_a_file_without_the_header_is_refused(tmp_path: Path, first: str) -> None:
    root = label_files(tmp_path, first)
    with pytest.raises(UserError, match=r"train\.txt: line 1: .*expected the header `guid,tag`"):
        manifest.read_label_rows(root / "train.txt")


@pytest.mark.parametrize("row", ["2", "2,positive,x", "2;positive", "  "])
def test_a_row_without_two_fields_is_named_by_its_line(tmp_path: Path, row: str) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n\n{row}\n")
    with pytest.raises(UserError, match=r"train\.txt: line 4: .*expected `guid,tag`"):
        manifest.read_label_rows(root / "train.txt")


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"guid,tag\n1,n\xe9gatif\n")
    with pytest.raises(UserError, match=r"train\.txt: not UTF-8 text at byte 12"):
        manifest.read_label_rows(tmp_path / "train.txt")


def test_an_unbalanced_quote_in_a_long_file_is_one_line(tmp_path: Path) -> None:
    rows = "".join(f"{number},positive\n" for number in range(20_000))
    root = label_files(tmp_path, f'{HEADER}"0,positive\n{rows}')
    with pytest.raises(UserError, match=r"train\.txt: line"):
        manifest.read_label_rows(root / "train.txt")


def test_labelled_and_unlabelled_rows_come_apart(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}2,positive\n1,negative\n", f"{HEADER}9,null\n8,null\n")
    labelled, predict = manifest.read_labels(root, LABELS)
    assert labelled == [LabelRow("2", "positive"), LabelRow("1", "negative")]
    assert predict == [LabelRow("9", "null"), LabelRow("8", "null")]


@pytest.mark.parametrize("predict", [None, HEADER])
def test_there_may_be_nothing_to_predict(tmp_path: Path, predict: str | None) -> None:
    root = label_files(tmp_path, f"{HEADER}2,positive\n1,negative\n", predict)
    assert manifest.read_labels(root, LABELS)[1] == []


def test_a_missing_root_is_named_with_its_key(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere").startswith("data.root: ")


@pytest.mark.parametrize(
    "guid", ["..", "../x", "a/b", "/etc/passwd", ".hidden", "a b", "", "é", "a\\b", "C:x", "*"]
)
def test_a_guid_that_is_no_plain_file_name_is_refused(tmp_path: Path, guid: str) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n2,negative\n{guid},positive\n")
    assert f"1 bad rows: train.txt: guid {guid!r} is not a plain file name" in problems(root)


@pytest.mark.parametrize("guid", ["4597", "a", "A-1_b.c", "-x", "_", "1..2"])
def test_plain_file_names_are_guids(tmp_path: Path, guid: str) -> None:
    root = label_files(tmp_path, f"{HEADER}7,negative\n{guid},positive\n")
    assert manifest.read_labels(root, LABELS)[0][1].guid == guid


def test_a_guid_that_stands_twice_is_named(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n2,negative\n1,positive\n")
    assert problems(root).endswith("1 bad rows: train.txt: guid 1 stands twice")


def test_a_guid_that_is_labelled_and_to_be_predicted_is_named(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n2,negative\n", f"{HEADER}3,null\n2,null\n")
    assert problems(root).endswith("test_without_label.txt: guid 2 stands twice")


@pytest.mark.parametrize("tag", ["Positive", "null", "", "angry"])
def test_an_unknown_tag_is_named_with_the_known_ones(tmp_path: Path, tag: str) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n2,negative\n3,{tag}\n")
    assert f"guid 3: tag {tag!r} is not one of negative, positive" in problems(root)


def test_a_tag_in_the_file_of_unlabelled_rows_is_named(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n2,negative\n", f"{HEADER}3,positive\n")
    assert "test_without_label.txt: guid 3: tag 'positive', not null" in problems(root)


def test_a_label_without_rows_is_named(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n")
    assert problems(root).endswith("1 bad rows: train.txt: no row has the label 'negative'")
    assert "2 bad rows" in problems(label_files(tmp_path, HEADER))


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    root = label_files(tmp_path, f"{HEADER}1,positive\n1,angry\n../2,positive\n")
    text = problems(root)
    assert text.startswith(f"{root}: 4 bad rows: ")
    for told in ("guid 1 stands twice", "'angry'", "'../2'", "no row has the label 'negative'"):
        assert told in text


def test_of_many_problems_ten_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    rows = "".join(f"{number},angry\n" for number in range(23))
    text = problems(label_files(tmp_path, f"{HEADER}a,positive\nb,negative\n{rows}"))
    assert ": 23 bad rows: " in text
    assert text.count("'angry'") == 10
    assert text.endswith("; and 13 more")


# Files


def test_every_sample_has_its_files_and_their_hashes_sorted_by_guid(tmp_path: Path) -> None:
    suffixes = {"9": ".jpg", "10": ".jpeg", "b": ".png", "a": ".webp"}
    root = sample_files(tmp_path / "raw", suffixes)
    table = manifest.build(root, list(suffixes))
    assert list(table.columns) == ["guid", "image", "text", "image_sha256", "text_sha256"]
    assert list(table["guid"]) == ["10", "9", "a", "b"]
    for row in table.itertuples():
        image = root / "data" / f"{row.guid}{suffixes[str(row.guid)]}"
        text = root / "data" / f"{row.guid}.txt"
        assert (row.image, row.text) == (image.as_posix(), text.as_posix())
        assert row.image_sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
        assert row.text_sha256 == hashlib.sha256(text.read_bytes()).hexdigest()


def test_the_manifest_does_not_depend_on_the_order_of_the_rows(tmp_path: Path) -> None:
    root = sample_files(tmp_path, dict.fromkeys("abc", ".png"))
    assert manifest.build(root, list("cab")).equals(manifest.build(root, list("abc")))


def test_only_the_samples_asked_for_are_listed(tmp_path: Path) -> None:
    root = sample_files(tmp_path, dict.fromkeys("abc", ".png"))
    assert list(manifest.build(root, ["b"])["guid"]) == ["b"]


def test_an_empty_text_is_a_text(tmp_path: Path) -> None:
    root = sample_files(tmp_path, {"a": ".png"})
    (root / "data" / "a.txt").write_bytes(b"")
    assert manifest.build(root, ["a"])["text_sha256"][0] == hashlib.sha256(b"").hexdigest()


def test_the_manifest_reads_back_as_strings(tmp_path: Path) -> None:
    guids = ["007", "1e3", "nan", "null"]
    table = manifest.build(sample_files(tmp_path, dict.fromkeys(guids, ".png")), guids)
    manifest.write(table, tmp_path / "out" / "manifest.csv")
    assert manifest.read(tmp_path / "out" / "manifest.csv").equals(table)
    assert list(table["guid"]) == guids
    assert b"\r" not in (tmp_path / "out" / "manifest.csv").read_bytes()


def build_problems(root: Path, guids: list[str]) -> str:
    with pytest.raises(UserError) as error:
        manifest.build(root, guids)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_missing_image_is_named_with_the_suffixes_that_would_do(tmp_path: Path) -> None:
    root = sample_files(tmp_path, {"a": ".png", "b": ".png"})
    (root / "data" / "b.png").unlink()
    text = build_problems(root, ["a", "b"])
    assert "1 bad rows: guid b: " in text
    assert "no image file (.jpg, .jpeg, .png, .webp)" in text


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    root = sample_files(tmp_path, {"a": ".png", "b": ".png"})
    (root / "data" / "b.txt").unlink()
    text = build_problems(root, ["a", "b"])
    assert text.endswith(f"1 bad rows: guid b: {root / 'data' / 'b.txt'}: no such text file")


@pytest.mark.parametrize(
    ("raw", "told"), [(b"", "the image file is empty"), (b"no image", "not an image")]
)
def test_an_image_file_without_an_image_is_named(tmp_path: Path, raw: bytes, told: str) -> None:
    root = sample_files(tmp_path, {"a": ".png", "b": ".jpg"})
    (root / "data" / "b.jpg").write_bytes(raw)
    assert f"1 bad rows: guid b: {root / 'data' / 'b.jpg'}: {told}" in build_problems(
        root, ["a", "b"]
    )


def test_an_image_too_large_to_be_honest_is_named(tmp_path: Path) -> None:
    root = sample_files(tmp_path, {"a": ".png"})
    png = bytearray((root / "data" / "a.png").read_bytes())
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = _crc(bytes(png[12:29]))
    (root / "data" / "a.png").write_bytes(png)
    assert "guid a: " in build_problems(root, ["a"])


def test_all_file_problems_are_listed_at_once(tmp_path: Path) -> None:
    root = sample_files(tmp_path, dict.fromkeys("abc", ".png"))
    (root / "data" / "a.png").unlink()
    (root / "data" / "a.txt").unlink()
    (root / "data" / "c.png").write_bytes(b"")
    text = build_problems(root, ["c", "b", "a", "x"])
    assert ": 5 bad rows: " in text
    assert [text.count(f"guid {guid}: ") for guid in "abcx"] == [2, 0, 1, 2]


def _crc(raw: bytes) -> bytes:
    import zlib

    return zlib.crc32(raw).to_bytes(4, "big")
