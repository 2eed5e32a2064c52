"""Properties of the label files: whatever is in them, they are read or refused in one line."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentifuse.data import label_files, label_rows
from sentifuse.data.label_rows import LabelTable
from sentifuse.errors import UserError

LABELS = ("negative", "positive")
GUIDS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,8}", fullmatch=True),
    st.sampled_from(
        ["", "..", "../a", "a/b", "/etc/passwd", "a b", "a\nb", "a\rb", "a,b", '"', "\0", "é"]
    ),
    st.text(max_size=6),
)
TAGS = st.sampled_from([*LABELS, *LABELS, *LABELS, "null", "", "joy", "Positive", 'a"b', "x\ny"])
ROWS = st.lists(st.tuples(GUIDS, TAGS), max_size=12)


def written(rows: list[tuple[str, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("guid", "tag"), *rows])
    return out.getvalue().encode("utf-8", "replace")


def read(folder: Path, train: bytes, predict: bytes = b"guid,tag\n") -> LabelTable:
    (folder / "train.txt").write_bytes(train)
    (folder / "test_without_label.txt").write_bytes(predict)
    return label_files.read(folder, LABELS)


@given(st.binary(max_size=200), st.binary(max_size=200))
@example(b"guid,tag\n\0,positive\n", b"")
@example(b"guid,tag\n" + b"a" * 200_000, b"")
def test_every_bytes_are_read_or_refused_in_one_line(
    tmp_path: Path, train: bytes, predict: bytes
) -> None:
    for head in (b"", b"guid,tag\n"):
        try:
            told = [str(each) for each in read(tmp_path, head + train, head + predict).problems]
        except UserError as error:
            told = [str(error)]
        for line in told:
            assert line.isprintable()
            assert "train.txt" in line or "test_without_label.txt" in line


@given(ROWS, ROWS)
def test_what_is_kept_is_sound_and_all_the_rest_is_told(
    tmp_path: Path, train: list[tuple[str, str]], predict: list[tuple[str, str]]
) -> None:
    if any("\0" in guid for guid, _ in predict):
        with pytest.raises(UserError, match="NUL"):
            read(tmp_path, written(train), written(predict))
        return
    found = read(tmp_path, written(train), written(predict))
    guids = [row.guid for row in found.labelled]
    assert all(label_rows.is_safe(guid) for guid in guids)
    assert {row.tag for row in found.labelled} <= set(LABELS)
    assert len(set(guids)) == len(guids)
    asked = [row.guid for row in found.predict]
    assert not set(guids) & set(asked)
    # In file order, and nothing is invented.
    assert [guid for guid in dict.fromkeys(_stripped(train)) if guid in guids] == guids
    assert _stripped(predict) == asked
    # Every row of train.txt is kept or told.
    told = sum(Path(problem.file).name == "train.txt" for problem in found.problems)
    assert found.train_rows == len(train) == len(found.labelled) + told


@given(st.lists(GUIDS.filter(label_rows.is_safe), unique=True, max_size=12))
def test_sound_files_are_read_back_letter_by_letter(tmp_path: Path, guids: list[str]) -> None:
    rows = [(guid, LABELS[number % 2]) for number, guid in enumerate(guids)]
    for ends, mark in ((b"\n", b""), (b"\r\n", b"\xef\xbb\xbf"), (b"\r", b"")):
        found = read(tmp_path, mark + written(rows).replace(b"\n", ends))
        assert [(row.guid, row.tag) for row in found.labelled] == rows
        assert found.problems == []


@given(st.text(max_size=12))
def test_a_safe_guid_stays_in_the_folder(tmp_path: Path, guid: str) -> None:
    if label_rows.is_safe(guid):
        assert (tmp_path / guid).resolve().parent == tmp_path.resolve()
        assert (tmp_path / f"{guid}.txt").name == f"{guid}.txt"


def _stripped(rows: list[tuple[str, str]]) -> list[str]:
    """The guids as a text file gives them back: with line ends of one kind, without white space around."""
    return [
        guid.encode("utf-8", "replace")
        .decode("utf-8")
        .replace("\r\n", "\n")
        .replace("\r", "\n")
        .strip()
        for guid, _ in rows
    ]
