"""Tar shards as of WebDataset: the members of one sample have one name and stand side by side.

`KEY.jpg` (or another suffix of images) is the image, `KEY.txt` the text, `KEY.cls` the label, and `KEY.json`
an object with any of the columns. KEY without its folders is the guid. Nothing is unpacked: a location is a
place in the tar file, which for this must not be compressed.
"""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sentifuse.config.recipe import Columns
from sentifuse.data import locations, text
from sentifuse.data.listing import Input
from sentifuse.data.records import Record
from sentifuse.errors import UserError

_IMAGES = ("jpg", "jpeg", "png", "webp")
_TEXT, _LABEL, _VALUES = "txt", "cls", "json"


@dataclass
class _Sample:
    """The members of one sample so far."""

    key: str
    image: Input | None = None
    text: Input | None = None
    values: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[str, str] = ("", "")


def read(path: Path, columns: Columns, first: int = 0) -> Iterator[Record]:
    """The samples of a shard; `first` is the number of its first one.

    Raises:
        UserError: it is no tar file, or is damaged or compressed.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            for number, sample in enumerate(_samples(path, tar, columns), first):
                where = f"{path}: {sample.key}"
                missing = Input("", where, "no image", f"expected {', '.join(_IMAGES)}")
                yield Record(
                    where, sample.values, number, sample.image or missing, sample.text, sample.wrong
                )
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{path}: broken tar, or a compressed one ({error}): expected a plain, whole .tar"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def _samples(path: Path, tar: tarfile.TarFile, columns: Columns) -> Iterator[_Sample]:
    sample = None
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # it would hold each member to the end
        folder, _, name = member.name.rpartition("/")
        stem = name.partition(".")[0]
        if not member.isreg() or not stem:
            continue  # a folder, or hidden
        key = f"{folder}/{stem}"
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = _Sample(key)
            if columns.id is not None:
                sample.values[columns.id] = stem
        _add(sample, path, tar, member, columns)
    if sample is not None:
        yield sample


def _add(
    sample: _Sample, path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, columns: Columns
) -> None:
    suffix = member.name.rpartition("/")[2].partition(".")[2].lower()
    place = Input(locations.in_tar(path, member.offset_data, member.size), f"{path}: {member.name}")
    if suffix in _IMAGES:
        sample.image = place
    elif suffix == _TEXT:
        sample.text = place
    elif suffix in (_LABEL, _VALUES):
        raw = _small(tar, member)
        try:
            values = {columns.label: raw.decode()} if suffix == _LABEL else json.loads(raw)
        except ValueError as error:
            values = error
        if isinstance(values, dict):
            sample.values |= values
        else:
            sample.wrong = ("damaged member", f"{member.name}: {values!r:.100}")


def _small(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: IO[bytes] | None = tar.extractfile(member)
    assert file is not None  # it is a regular file
    return file.read(text.MAX_BYTES)
