"""Rows of a table or of tar shards -> a listing of samples.

A record has values by the names of its columns, as `data.columns` gives them. What is expected of a value
stands here, whichever file it comes from.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentifuse.config.recipe import Columns
from sentifuse.data import label_rows, locations, published_splits
from sentifuse.data.label_rows import UNLABELLED, FoundRow
from sentifuse.data.listing import Input, Listing

# What a column of parts may say -> the part.
_PARTS = {**published_splits.NAMES, "predict": "predict", "": ""}


@dataclass(frozen=True)
class Record:
    """One sample as it is written.

    Attributes:
        where: for messages, such as `samples.csv: line 3`.
        values: by the names of the columns; None for an empty cell.
        number: of the row, from 0 on: its guid if there is no column of guids.
        image: the image, if it is not in `values`.
        text: the text, if it is not in `values`.
        wrong: reason and detail of what is wrong with the whole.
    """

    where: str
    values: Mapping[str, Any]
    number: int
    image: Input | None = None
    text: Input | None = None
    wrong: tuple[str, str] = ("", "")


@dataclass
class _Found:
    train: list[FoundRow] = field(default_factory=list)
    predict: list[FoundRow] = field(default_factory=list)
    inputs: dict[str, tuple[Input, Input]] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    modality_labels: dict[str, tuple[str, str]] = field(default_factory=dict)


def listing(
    root: Path, source: str, records: Iterable[Record], columns: Columns, labels: Sequence[str]
) -> Listing:
    """Lists the samples of `records`, in their order.

    A record without a label, or of the part `predict`, is to be predicted; all others are labelled.

    Args:
        root: paths in records are relative to it.
        source: the file or files that they come from.
        records: gone through once.
        columns: the names of the columns.
        labels: the classes.
    """
    found = _Found()
    for record in records:
        _add(found, record, root, columns)
    inputs = found.inputs
    rows = label_rows.table(found.train, found.predict, labels)
    return Listing(source, rows, inputs.__getitem__, found.parts, found.modality_labels)


def _add(found: _Found, record: Record, root: Path, columns: Columns) -> None:
    wrong: list[tuple[str, str]] = [record.wrong] if record.wrong[0] else []

    def word(column: str | None) -> str:
        value = None if column is None else record.values.get(column)
        if value is None:
            return ""
        # A truth value is an `int` in Python.
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value).strip()
        wrong.append(("wrong type", f"{column}: {value!r:.100}: expected text or a whole number"))
        return ""

    has_guids = columns.id is not None and columns.id in record.values
    guid = word(columns.id) if has_guids else f"{record.number:08}"
    tag, part = word(columns.label), word(columns.split)
    if part.lower() not in _PARTS:
        known = ", ".join(name for name in _PARTS if name)
        wrong.append(("unknown part", f"{columns.split}: {part[:100]!r} is not one of {known}"))
    part = _PARTS.get(part.lower(), "")
    to_predict = part == "predict" or (tag in ("", UNLABELLED) and not part)
    row = FoundRow(guid, "" if part == "predict" else tag, record.where, (wrong or [("", "")])[0])
    (found.predict if to_predict else found.train).append(row)
    if guid in found.inputs and not to_predict:
        return  # it is told of; the first one stays, or the one to predict
    found.inputs[guid] = (
        record.image or _path(record, root, columns.image, "image"),
        record.text or _text(record, root, columns),
    )
    if part and not to_predict:
        found.parts[guid] = part
    labels = word(columns.text_label), word(columns.image_label)
    if any(labels):
        found.modality_labels[guid] = labels


def _text(record: Record, root: Path, columns: Columns) -> Input:
    if columns.text_file is not None and record.values.get(columns.text_file):
        return _path(record, root, columns.text_file, "text")
    value = record.values.get(columns.text)
    if isinstance(value, str):
        return Input(locations.inline(value.encode("utf-8", "replace")), record.where)
    if value is None:
        return Input("", record.where, "no text", f"{columns.text} is empty")
    return Input("", record.where, "wrong type", f"{columns.text}: {value!r:.100}: expected text")


def _path(record: Record, root: Path, column: str, what: str) -> Input:
    """The file that a cell names; none outside `root`."""
    value = record.values.get(column)
    if value in (None, ""):
        return Input("", record.where, f"no {what}", f"{column} is empty")
    if not isinstance(value, str) or "\0" in value:
        return Input("", record.where, "wrong type", f"{column}: {value!r:.100}: expected a path")
    if os.path.isabs(value) or os.path.normpath(value).startswith(".."):
        detail = f"{column}: {value[:100]!r}: expected a path relative to {root}"
        return Input("", record.where, "path out of the data set", detail)
    path = (root / value).as_posix()
    if not os.path.lexists(path):
        return Input("", path, f"no {what} file", f"{column} of {record.where}")
    return Input(path, path)
