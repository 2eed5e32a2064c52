"""Tables of samples: `samples.csv`, `samples.jsonl` and Parquet files, row by row.

A CSV file has a header and is in UTF-8. A JSONL file has one object a line. In a Parquet file the images are
paths, bytes, or the `{bytes, path}` of a Hugging Face data set; bytes stay where they are until they are
encoded (`locations`).
"""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sentifuse.config.recipe import COLUMNS, Columns
from sentifuse.data import locations
from sentifuse.data.listing import Input
from sentifuse.data.records import Record
from sentifuse.errors import UserError

# Of the images in a group of rows, in bytes: to read one of them is to read them all.
_MAX_GROUP = 2**28
_BATCH = 1024  # rows of a Parquet file that are held, without their images


def read(path: Path, columns: Columns, first: int = 0) -> Iterator[Record]:
    """The rows of a table; `first` is the number of its first row.

    Raises:
        UserError: the file cannot be read as what its suffix says, or lacks a column.
    """
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    try:
        yield from readers[path.suffix](path, columns, first)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason})") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _csv(path: Path, columns: Columns, first: int) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            _check_columns(path, reader.fieldnames or [], columns)
            for number, row in enumerate(reader, first):
                where = f"{path}: line {reader.line_num}"
                # The reader's own signs of too many fields, and of too few.
                sound = None not in row and None not in row.values()
                wrong = ("", "") if sound else ("wrong number of fields", "")
                yield Record(where, row, number, wrong=wrong)
        except csv.Error as error:
            raise UserError(f"{path}: after line {reader.line_num}: {error}") from None


def _jsonl(path: Path, columns: Columns, first: int) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig") as file:
        number = first
        for line, written in enumerate(file, 1):
            if not written.strip():
                continue
            try:
                row = json.loads(written)
            except ValueError as error:
                raise UserError(f"{path}: line {line}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}: line {line}: {written[:100]!r}: expected a JSON object")
            if number == first:
                # A later row may leave out what is empty in it.
                _check_columns(path, list(row), columns)
            yield Record(f"{path}: line {line}", row, number)
            number += 1


def _parquet(path: Path, columns: Columns, first: int) -> Iterator[Record]:
    with locations.parquet(path) as file:
        schema = file.schema_arrow
        _check_columns(path, schema.names, columns)
        packed = _packed_column(path, schema.field(columns.image).type, columns.image)
        if packed:
            _check_groups(path, file.metadata, packed)
        wanted = [name for name in schema.names if name in _names(columns)]
        if packed:
            wanted.remove(columns.image)
        number = 0
        for batch in file.iter_batches(_BATCH, columns=wanted):
            for row in batch.to_pylist():
                where, image = f"{path}: row {number}", None
                if packed:
                    image = Input(locations.in_parquet(path, packed, number), where)
                yield Record(where, row, first + number, image=image)
                number += 1


def _packed_column(path: Path, kind: Any, name: str) -> str:
    """The column of the bytes of the images; empty where there are paths."""
    import pyarrow.types as types

    if types.is_string(kind) or types.is_large_string(kind):
        return ""
    if types.is_binary(kind) or types.is_large_binary(kind):
        return name
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{name}.bytes"
    raise UserError(
        f"{path}: column {name!r} has the type {kind}: expected paths, bytes, or a struct with bytes "
        "(data.columns.image)"
    )


def _check_groups(path: Path, metadata: Any, column: str) -> None:
    """Refuses groups of rows that are too large to be held."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(place) for place in range(group.num_columns))
        held = sum(
            chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column
        )
        if held > _MAX_GROUP:
            raise UserError(
                f"{path}: row group {number} has {held >> 20} MiB of images, more than "
                f"{_MAX_GROUP >> 20}: each process would hold it; write the file with smaller groups, such "
                "as `table.to_parquet(file, row_group_size=100)`"
            )


def _names(columns: Columns) -> list[str]:
    return [name for name in vars(columns).values() if name is not None]


def _check_columns(path: Path, there: Sequence[str], columns: Columns) -> None:
    """Refuses a table without images or texts, and one that lacks a column with a name of the user's own."""
    lacking = {
        key: name
        for key, name in vars(columns).items()
        if name is not None and name not in there and name != getattr(COLUMNS, key)
    }
    if columns.image not in there:
        lacking["image"] = columns.image
    if columns.text not in there and columns.text_file not in there:
        lacking["text"] = columns.text
    if not lacking:
        return
    key, name = next(iter(lacking.items()))
    found = ", ".join(map(repr, there))[:200]
    hint = next((f"; it seems to be separated by {char!r}" for char in "\t;|" if char in found), "")
    raise UserError(
        f"{path}: no column {name!r} (data.columns.{key}); there are: {found or 'none'}{hint}"
    )
