import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentifuse.data import course_layout, images, inspection, text
from sentifuse.data.inspection import Inspected
from sentifuse.errors import UserError
from tests.raw_files import bomb, encoded, noise, sample_files

# In a process of its own Pillow's warning is switched off (`tests/sentifuse/data/test_images.py`).
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")

CUT = encoded(Image.fromarray(noise(0, 64)), "JPEG")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of three sound samples."""
    return sample_files(tmp_path / "root", {"a": ".jpg", "b": ".png", "c": ".webp"})


def inspect(root: Path, guids: Sequence[str] = ("c", "a", "b")) -> Inspected:
    return inspection.inspect(root, guids, course_layout.finder(root))


def check(root: Path, file: str, reason: str, detail: str = "") -> None:
    """There is this one problem, its modality is empty in the table, and the rest is not."""
    found = inspect(root)
    guid = Path(file).name[0]
    path = (root / "data" / file).as_posix()
    assert [(each.guid, each.file, each.reason) for each in found.problems] == [
        (guid, path, reason)
    ]
    assert detail in found.problems[0].detail
    assert "\n" not in str(found.problems[0])
    lost = ["text", "text_sha256", "clean_text"] if file.endswith(".txt") else [
        "image", "image_sha256", "image_hash"
    ]  # fmt: skip
    rows = found.samples.set_index("guid")
    assert list(rows.index) == ["a", "b", "c"]
    assert (rows.loc[guid, lost] == "").all()
    assert (rows.loc[guid].drop(lost) != "").all()
    assert (rows.drop(index=guid) != "").all(axis=None)


def test_every_sample_has_its_files_and_their_hashes_sorted_by_guid(tmp_path: Path) -> None:
    suffixes = {"9": ".jpg", "10": ".jpeg", "b": ".png", "a": ".webp"}
    root = sample_files(tmp_path / "raw", suffixes)
    found = inspect(root, list(suffixes))
    assert found.problems == found.notes == []
    assert list(found.samples.columns) == inspection.COLUMNS
    assert list(found.samples["guid"]) == ["10", "9", "a", "b"]
    for row in found.samples.itertuples():
        image = root / "data" / f"{row.guid}{suffixes[str(row.guid)]}"
        words = root / "data" / f"{row.guid}.txt"
        assert (row.image, row.text) == (image.as_posix(), words.as_posix())
        assert row.image_sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
        assert row.text_sha256 == hashlib.sha256(words.read_bytes()).hexdigest()
        assert row.clean_text == f"text of {row.guid}"
        assert len(str(row.image_hash)) == 16


def test_neither_the_order_of_the_guids_nor_the_number_of_cores_changes_anything(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "data" / "a.txt").unlink()
    (root / "data" / "c.webp").write_bytes(b"")
    monkeypatch.setattr(inspection, "_CHUNK", 1)
    found = []
    for cores, guids in ((1, "abc"), (3, "cab"), (16, "bca")):
        monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda cores=cores: cores)
        found.append(inspect(root, list(guids)))
    assert found[0].samples.equals(found[1].samples)
    assert found[0].samples.equals(found[2].samples)
    assert found[0].problems == found[1].problems == found[2].problems
    assert len(found[0].problems) == 2


def test_no_samples_are_a_table_without_rows(root: Path) -> None:
    found = inspect(root, [])
    assert list(found.samples.columns) == inspection.COLUMNS
    assert found.samples.empty


# Images


def test_a_missing_image_is_named_with_the_suffixes_that_would_do(root: Path) -> None:
    (root / "data" / "b.png").unlink()
    check(root, "b", "no image file", ".jpg, .jpeg, .png, .webp")


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"", "image empty", "0 bytes"),
        (b"no image", "not an image", "none of JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image", ""),
        (bytes(1000), "not an image", ""),
        (CUT[:20], "image cut off or damaged", ""),
        (CUT[: len(CUT) // 2], "image cut off or damaged", "truncated"),
        (CUT[:-100], "image cut off or damaged", "truncated"),
        (encoded(Image.fromarray(noise(0, 64)))[:-600], "image cut off or damaged", ""),
        (encoded(Image.fromarray(noise(0, 64)), "WEBP")[:-600], "image cut off or damaged", ""),
        (bomb(), "too many pixels", ""),
        (bomb(12_000), "too many pixels", "12000 x 12000 pixels, more than 89478485"),
    ],
    ids=[
        "empty", "text", "svg", "zeros", "header-cut", "jpeg-half", "jpeg-end", "png", "webp",
        "30000x30000", "12000x12000",
    ],
)  # fmt: skip
def test_an_image_that_cannot_be_used_is_named(
    root: Path, raw: bytes, reason: str, detail: str
) -> None:
    (root / "data" / "a.jpg").write_bytes(raw)
    check(root, "a.jpg", reason, detail)


def test_an_image_of_as_many_pixels_as_allowed_is_no_bomb(root: Path) -> None:
    side = int(images.MAX_PIXELS**0.5)
    (root / "data" / "b.png").write_bytes(bomb(side))
    # What the header says is believed; the pixels are not there.
    check(root, "b.png", "image cut off or damaged")
    (root / "data" / "b.png").write_bytes(bomb(side + 1))
    check(root, "b.png", "too many pixels")


def test_an_image_file_larger_than_allowed_is_not_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (root / "data" / "a.jpg").open("wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    monkeypatch.setattr(images, "open_image", lambda raw: pytest.fail("it was read"))
    found = inspect(root, ["a"])
    assert [problem.reason for problem in found.problems] == ["image too long"]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_format_that_the_name_does_not_say_is_noted_and_used(root: Path, kind: str) -> None:
    (root / "data" / "a.jpg").write_bytes(encoded(Image.fromarray(noise(5)), kind))
    found = inspect(root)
    assert found.problems == []
    assert [(each.guid, each.reason, each.detail) for each in found.notes] == [
        ("a", "another format than the name says", kind)
    ]
    assert found.samples.loc[0, "image"] == (root / "data" / "a.jpg").as_posix()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_every_kind_of_pixel_are_used(root: Path, mode: str) -> None:
    image = Image.fromarray(noise(5, 64))
    if mode == "I;16":
        image = Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16)
    else:
        image = image.convert(mode)
    suffix, kind = (".jpg", "JPEG") if mode == "CMYK" else (".png", "PNG")
    (root / "data" / "a.jpg").unlink()
    (root / "data" / f"a{suffix}").write_bytes(encoded(image, kind))
    found = inspect(root)
    assert found.problems == found.notes == []


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_an_image_of_32_bits_a_pixel_is_used_and_noted(root: Path, kind: type) -> None:
    image = Image.fromarray(noise(5, 64)[..., 0].astype(kind))
    (root / "data" / "a.jpg").write_bytes(encoded(image, "TIFF"))
    found = inspect(root)
    assert found.problems == []
    assert [each.reason for each in found.notes] == [
        "another format than the name says", "image of 32 bits a pixel",
    ]  # fmt: skip
    (root / "data" / "a.jpg").write_bytes(
        encoded(Image.fromarray(np.full((9, 9), -1, kind)), "TIFF")
    )
    check(root, "a.jpg", "pixel values out of range", "-1")


def test_an_image_of_one_pixel_is_used(root: Path) -> None:
    (root / "data" / "b.png").write_bytes(encoded(Image.new("RGB", (1, 1), "red")))
    found = inspect(root)
    assert found.problems == found.notes == []
    assert found.samples.loc[1, "image_hash"] == ""


# Suffixes


@pytest.mark.parametrize(
    ("plain", "odd"),
    [("a.jpg", "a.JPG"), ("a.jpg", "a.Jpeg"), ("b.png", "b.PnG"), ("c.webp", "c.WEBP"), ("c.txt", "c.Txt")],
)  # fmt: skip
def test_suffixes_are_found_in_any_case(root: Path, plain: str, odd: str) -> None:
    (root / "data" / plain).rename(root / "data" / odd)
    found = inspect(root)
    assert found.problems == found.notes == []
    column = "text" if plain.endswith(".txt") else "image"
    assert (root / "data" / odd).as_posix() in set(found.samples[column])


@pytest.mark.parametrize("odd", ["a.JPG", "a.jPg", "a.TXT"])
def test_two_files_that_differ_in_case_only_are_named(root: Path, odd: str) -> None:
    plain = odd.lower()
    (root / "data" / odd).write_bytes((root / "data" / plain).read_bytes())
    check(root, plain, "files that differ in case only", f"{odd}, {plain}: keep one")


@pytest.mark.parametrize("other", ["A.jpg", "a.jpg.JPG", "a.GIF", "JPG", ".JPG"])
def test_other_files_do_not_take_part(root: Path, other: str) -> None:
    (root / "data" / other).write_bytes(b"no image")
    found = inspect(root)
    assert found.problems == found.notes == []
    assert found.samples.loc[0, "image"] == (root / "data" / "a.jpg").as_posix()


# Texts


def test_a_missing_text_is_named(root: Path) -> None:
    (root / "data" / "b.txt").unlink()
    check(root, "b.txt", "no text file")


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"", "text empty", "0 bytes"),
        (b" \r\n\t", "text empty", "4 bytes"),
        (b"\xef\xbb\xbf", "text empty", ""),
        (b"what a\0day", "not text", "NUL"),
        ("no mark".encode("utf-16-le"), "not text", "NUL"),
        (CUT[:1000].replace(b"\0", b"\x01"), "not text", "control characters"),
        (b"a" * (text.MAX_BYTES + 1), "text too long", f"more than {text.MAX_BYTES}"),
        (b"word " * 200_000, "text too long", "1000000 bytes"),
    ],
    ids=["empty", "blank", "mark", "nul", "utf16-no-mark", "jpeg", "too-long", "1MB"],
)
def test_a_text_that_cannot_be_used_is_named(
    root: Path, raw: bytes, reason: str, detail: str
) -> None:
    (root / "data" / "a.txt").write_bytes(raw)
    check(root, "a.txt", reason, detail)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_texts_are_used_in_every_encoding_that_is_read(root: Path, encoding: str) -> None:
    (root / "data" / "a.txt").write_bytes("开心 的 一天".encode(encoding))
    found = inspect(root)
    assert found.problems == []
    assert found.samples.loc[0, "clean_text"] == "开心 的 一天"


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        ("so → far".encode("gbk"), "read as 'so → far', not 'so ¡ú far'"),
        (
            b"x" * 90 + " → far".encode("gbk"),
            f"read as '{'x' * 19} → far', not '{'x' * 19} ¡ú far'",
        ),
        ("привет".encode("cp1251"), "read as '镳桠弪', not 'ïðèâåò'"),
    ],
)
def test_an_encoding_that_cannot_be_told_for_sure_is_noted_with_both_readings(
    root: Path, raw: bytes, detail: str
) -> None:
    (root / "data" / "a.txt").write_bytes(raw)
    found = inspect(root)
    assert found.problems == []
    [note] = found.notes
    assert (note.guid, note.reason) == ("a", "encoding in doubt")
    assert note.detail.startswith(detail)
    assert str(note).isprintable()


def test_a_text_that_cleaning_empties_is_noted_where_there_is_an_image(root: Path) -> None:
    (root / "data" / "a.txt").write_text("http://t.co/x @bob", encoding="utf-8")
    found = inspect(root)
    assert found.problems == []
    assert [(each.guid, each.reason) for each in found.notes] == [
        ("a", "text empty after cleaning")
    ]
    assert found.samples.loc[0, "text"] == (root / "data" / "a.txt").as_posix()
    assert len(found.samples.loc[0, "text_sha256"]) == 64


def test_without_an_image_it_is_nothing_to_work_with(root: Path) -> None:
    (root / "data" / "a.txt").write_text("http://t.co/x @bob", encoding="utf-8")
    (root / "data" / "a.jpg").write_bytes(b"")
    found = inspect(root)
    assert [each.reason for each in found.problems] == ["image empty", "text empty after cleaning"]
    assert found.notes == []
    assert (found.samples.loc[0].drop("guid") == "").all()


# What is no file of the data set


@pytest.mark.parametrize("name", ["a.jpg", "a.txt"])
def test_a_link_out_of_the_data_set_is_not_followed(root: Path, name: str) -> None:
    outside = root.parent / name
    (root / "data" / name).rename(outside)
    (root / "data" / name).symlink_to(outside)
    check(root, name, "link out of the data set", str(outside))


def test_a_link_within_the_data_set_is_followed(root: Path) -> None:
    for name in ("a.jpg", "a.txt"):
        (root / "data" / name).rename(root / name)
        (root / "data" / name).symlink_to(Path("..", name))
    assert inspect(root).problems == []


def test_the_folder_may_be_no_link_out_of_the_data_set(root: Path) -> None:
    (root / "data").rename(root.parent / "elsewhere")
    (root / "data").symlink_to(root.parent / "elsewhere")
    with pytest.raises(UserError, match=r"data: a link out of .*: put the folder itself there"):
        inspect(root)


def test_the_data_set_itself_may_be_a_link(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert inspect(link).problems == []


def test_a_loop_of_links_is_named(root: Path) -> None:
    (root / "data" / "a.txt").unlink()
    (root / "data" / "a.txt").symlink_to("a.txt")
    found = inspect(root)
    assert [(each.guid, each.reason) for each in found.problems] == [
        ("a", "text file cannot be read")
    ]


def broken_link(path: Path) -> None:
    path.symlink_to("nowhere.jpg")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "no image file"),
        (os.mkfifo, "no image file"),
        (broken_link, "image file cannot be read"),
    ],
    ids=["folder", "pipe", "broken-link"],
)
def test_what_is_no_regular_file_is_named_and_not_waited_for(
    root: Path, make: Callable[[Path], None], reason: str
) -> None:
    (root / "data" / "a.jpg").unlink()
    make(root / "data" / "a.jpg")
    check(root, "a.jpg", reason)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_leave_to_read_is_named(root: Path) -> None:
    (root / "data" / "a.jpg").chmod(0)
    check(root, "a.jpg", "image file cannot be read", "Permission denied")
