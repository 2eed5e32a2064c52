"""Files that appear whole or not at all, and hashes of their contents."""

import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from sentifuse.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Gives an `OSError` of the block that tells no file, such as a full disk's, the name of `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def csv_rows(path: Path) -> Iterator[list[str]]:
    """The rows of a CSV file below its header, one at a time."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        yield from rows


def check_output(option: str, path: Path, inputs: Iterable[Path] = ()) -> None:
    """Refuses, before any work, an output that would replace an input or that cannot be written.

    Args:
        option: of the command line, for the message.
        path: what is to be written.
        inputs: files that are read; a link and a hard link are the same file.

    Raises:
        UserError: it is one of `inputs`; a folder, a pipe or a device is there; or no file can be made
            there.
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


def write_bytes(path: Path, raw: bytes, unique: str = "", sync: bool = False) -> None:
    """Writes `raw`; makes the folder; replaces atomically.

    Args:
        path: what appears.
        raw: its bytes.
        unique: part of the partial file's name, where several processes may write `path` at a time.
            Else that name is fixed, so that what a killed run leaves is written over by the next.
        sync: whether the bytes are on the disk before the name is, so that even a power cut leaves
            no half file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path, unique)
    try:
        with named(path), partial.open("wb") as file:
            file.write(raw)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file with `\\n` line ends that becomes `path` at the end, if nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with named(path), partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _numbers(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for place, each in enumerate(value):
            yield from _numbers(each, f"{key}.{place}" if key else str(place))


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


def sha256(raw: bytes) -> str:
    """Hexadecimal SHA-256 of `raw`."""
    return hashlib.sha256(raw).hexdigest()
