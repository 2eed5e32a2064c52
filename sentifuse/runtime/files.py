"""Files that appear whole or not at all, and hashes of their contents."""

import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

from sentifuse.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

Row = TypeVar("Row")


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Adds the name of `path` to an `OSError` that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def check_output(option: str, path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuses, before any work, an output of the command line's `option` that cannot be written.

    Raises:
        UserError: `path` is one of `inputs`, also by a link or a hard link; or it is a folder, a pipe or a
            device; or no file can be made there.
    """
    told = f"{option} {path}"
    for each in inputs:
        if _same(path, each) or _same(_partial(path), each):
            raise UserError(f"{told}: the output is the input {each}: choose another name")
    try:
        if path.exists() and not path.is_file():
            found = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"{told}: {found}: expected the name of a file")
        folder = next(each for each in path.absolute().parents if each.exists())
        # Rights alone do not tell: the file system may be read-only, and root may do anything else.
        tempfile.NamedTemporaryFile(dir=folder, prefix=_partial(path).name).close()
    except OSError as error:
        raise UserError(
            f"{told}: no file can be made there: {error.strerror}: choose another place"
        ) from None


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them does not exist
        return False


def _partial(path: Path, unique: str = "") -> Path:
    return path.with_name(f".{path.name}.{unique}part")


@contextmanager
def _replacing(path: Path, unique: str = "") -> Iterator[Path]:
    """A partial file to write, which becomes `path` at the end, if nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path, unique)
    try:
        with named(path):
            yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, raw: bytes, unique: str = "", sync: bool = False) -> None:
    """Writes `raw` atomically; makes the folder.

    Where several processes may write `path` at a time, `unique` is part of the partial file's name; without
    it the next run writes over what a killed one leaves. With `sync` even a power cut leaves no half file.
    """
    with _replacing(path, unique) as partial, partial.open("wb") as file:
        file.write(raw)
        if sync:
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file with `\\n` line ends that becomes `path` at the end, if nothing was raised."""
    with _replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, as it stands, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically.

    Raises:
        UserError: a number is NaN or infinite, which JSON cannot hold.
    """
    for key, number in _numbers(value):
        if not math.isfinite(number):
            raise UserError(
                f"{path}: {key}: {number}: expected a finite number: what it is computed from is not one: "
                "see whether features and training are sound"
            )
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """The floats in a JSON value, each with its place, such as `test.accuracy` or `rows.2`."""
    if isinstance(value, float):
        yield key, value
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _numbers(each, f"{key}.{name}" if key else str(name))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: no such file, or not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run `dvc repro`") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}): delete it and run `dvc repro`") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: not a JSON object: delete it and run `dvc repro`")
    return document


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Writes `table` without its index, atomically; numbers with six decimals."""
    write_text(path, as_csv(table))


def as_csv(table: "pd.DataFrame", header: bool = True) -> str:
    """`table` as `write_csv` writes it, with or without the line of column names."""
    text: str = table.to_csv(index=False, header=header, lineterminator="\n", float_format="%.6f")
    return text


def read_csv(path: Path, text: Sequence[str]) -> "pd.DataFrame":
    """Reads what `write_csv` wrote; the columns `text`, where there are any, are not taken for numbers."""
    import pandas as pd

    # A class may be called "NA" or "1": no text is read as a missing value or as a number.
    return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])


@dataclass(frozen=True)
class CsvRows(Generic[Row]):
    """The rows of a CSV file below its header, read one at a time, each time anew: none is held.

    `make` is the `_make` of a named tuple with the columns of the file.
    """

    path: Path
    make: Callable[[list[str]], Row]

    def __iter__(self) -> Iterator[Row]:
        with self.path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            next(rows, None)
            yield from map(self.make, rows)


def sha256(raw: bytes) -> str:
    """Hexadecimal SHA-256 of `raw`."""
    return hashlib.sha256(raw).hexdigest()
