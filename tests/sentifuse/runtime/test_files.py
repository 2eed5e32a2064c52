import errno
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.runtime import files


def test_text_is_utf8_with_unix_line_ends_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    files.write_text(path, "naïve 你好\nsecond\n")
    assert path.read_bytes() == "naïve 你好\nsecond\n".encode()


def test_text_replaces_an_older_file_and_leaves_no_partial_one(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    files.write_text(path, "a long first version\n")
    files.write_text(path, "b\n")
    assert path.read_text(encoding="utf-8") == "b\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_keeps_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.txt"
    files.write_text(path, "old\n")

    def disk_full(*args: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", disk_full)
    with pytest.raises(OSError, match="no space left"):
        files.write_text(path, "new\n")
    assert path.read_text(encoding="utf-8") == "old\n"


def test_json_is_indented_readable_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    files.write_json(path, {"b": "中性", "a": [1, 0.5]})
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{\n  "b": "中性",\n')
    assert text.endswith("}\n")
    assert json.loads(text) == {"b": "中性", "a": [1, 0.5]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float64("nan")])
@pytest.mark.parametrize(
    ("place", "wrap"),
    [
        ("a", lambda value: {"b": 1.0, "a": value}),
        ("test.interval.low", lambda value: {"test": {"interval": {"low": value}}}),
        ("runs.1.loss", lambda value: {"runs": [{"loss": 0.5}, {"loss": value}]}),
        ("1", lambda value: (0.5, value)),
    ],
)
def test_json_refuses_numbers_that_it_does_not_have_and_names_their_place(
    tmp_path: Path, place: str, wrap: Callable[[float], Any], value: float
) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(UserError, match=re.escape(f"{path}: {place}: {value}: expected a finite")):
        files.write_json(path, wrap(value))
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_the_empty_input() -> None:
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.sha256(b"") == expected


def test_what_fails_half_way_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError), files.writing(path) as file:
        file.write(f"new {1 // 0}")
    assert path.read_text(encoding="utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_json_is_read_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UserError, match=r"a\.json: no such file: run `dvc repro`"):
        files.read_json(path)
    for text, message in (("{", "not JSON"), ("[1]", "not a JSON object")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            files.read_json(path)
    files.write_json(path, {"a": 1})
    assert files.read_json(path) == {"a": 1}


def fill_disk(path: Path) -> None:
    """Makes the next write of `path` meet a full disk."""
    path.with_name(f".{path.name}.part").symlink_to("/dev/full")


def test_a_full_disk_is_told_with_the_name_of_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    files.write_text(path, "old\n")
    fill_disk(path)
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.write_text(path, "new\n")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text(encoding="utf-8") == "old\n"


def test_what_a_killed_write_left_is_gone_after_the_next(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    partial = tmp_path / ".c.txt.part"
    partial.write_text("half a l")
    files.write_text(path, "a line\n")
    assert path.read_text(encoding="utf-8") == "a line\n"
    assert list(tmp_path.iterdir()) == [path]


# Outputs that are refused


def linked(path: Path, other: Path) -> None:
    path.symlink_to(other)


def hard_linked(path: Path, other: Path) -> None:
    os.link(other, path)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("in.csv", None),
        ("folder/../in.csv", None),
        ("link.csv", linked),
        ("hard.csv", hard_linked),
        ("linked-folder/in.csv", None),
    ],
)
def test_an_output_that_is_an_input_is_refused_however_it_is_named(
    tmp_path: Path, name: str, make: Callable[[Path, Path], None] | None
) -> None:
    source = tmp_path / "in.csv"
    source.write_text("rows", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "linked-folder").symlink_to(tmp_path)
    if make:
        make(tmp_path / name, source)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        UserError, match=rf"^--out .*{name}: the output is the input .*in\.csv: choose"
    ):
        files.check_output("--out", tmp_path / name, [tmp_path / "other", source])
    assert sorted(tmp_path.iterdir()) == before
    assert source.read_text(encoding="utf-8") == "rows"


def test_an_input_with_the_name_of_the_partial_file_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / ".out.csv.part"
    source.touch()
    with pytest.raises(UserError, match="is the input"):
        files.check_output("--out", tmp_path / "out.csv", [source])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "a folder: expected the name of a file"),
        ("pipe", "no regular file: expected"),
        ("file/out.csv", "no file can be made there: Not a directory: choose another place"),
        ("file/deep/out.csv", "no file can be made there: Not a directory"),
        ("x" * 300, "no file can be made there: File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_written_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=f"^--out .*{name}: {message}"):
        files.check_output("--out", tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_takes_no_file_is_refused() -> None:
    # Root may write to folders without the right to it, but not here.
    with pytest.raises(UserError, match=r"^--out /proc/out\.csv: no file can be made there"):
        files.check_output("--out", Path("/proc/out.csv"))


@pytest.mark.parametrize("name", ["out.csv", "new/folders/out.csv", "old.csv", "link.csv"])
def test_a_new_output_and_an_older_one_are_fine_and_nothing_is_made(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "old.csv").touch()
    (tmp_path / "in.csv").touch()
    (tmp_path / "link.csv").symlink_to("old.csv")
    before = sorted(tmp_path.iterdir())
    files.check_output("--out", tmp_path / name, [tmp_path / "in.csv", tmp_path / "gone"])
    assert sorted(tmp_path.iterdir()) == before


def test_named_leaves_the_name_that_an_error_has(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, files.named(tmp_path / "other"):
        (tmp_path / "missing").read_bytes()
    assert caught.value.filename == str(tmp_path / "missing")
