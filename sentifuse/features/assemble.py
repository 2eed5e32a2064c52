"""Store -> the arrays of `data/features/`, in the manifest's order; one shard is in memory at a time."""

import hashlib
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sentifuse.errors import UserError
from sentifuse.features.key_table import KeyTable, Places
from sentifuse.features.schema import Array, Meta
from sentifuse.features.store.space import EncodedRow, Space
from sentifuse.runtime.files import named, write_json, writing


class DamagedRowsError(UserError):
    """Rows of the store were damaged after they were written; they are gone, and can be encoded again."""


@dataclass(frozen=True)
class StoredRows:
    """The rows of one encoder, in the store.

    Attributes:
        space: has the rows.
        keys: of the rows, in order; an empty key stands for an input that is missing: its row is zeros, and
            a text has no tokens then.
    """

    space: Space
    keys: Iterable[str]


def write(folder: Path, meta: Meta, guids: Iterable[str], stored: Mapping[str, StoredRows]) -> None:
    """Writes the arrays, as `schema` describes them.

    Args:
        folder: `data/features`.
        meta: what was encoded.
        guids: N, in row order.
        stored: the rows by the key of their encoder: of texts N of them, of images N * V, all views of a
            sample side by side.

    Raises:
        DamagedRowsError: a row is missing, because a shard was damaged after it was written.
    """
    # Arrays of an earlier run that this one does not write must not be taken for its own.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with writing(folder / "guids.txt") as file:
        file.writelines(f"{guid}\n" for guid in guids)
    for encoder in meta.encoders:
        own = folder / encoder.key
        own.mkdir()
        if encoder.modality == "image":
            _write_images(own, stored[encoder.key], meta.views)
        else:
            _write_texts(own, stored[encoder.key])
    digests = {encoder.key: _digests(folder / encoder.key) for encoder in meta.encoders}
    # Written last: a folder that has it is complete, and `schema.read` refuses one that lacks it.
    write_json(folder / "meta.json", {**asdict(meta), "digests": digests})


def _digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each array, by name: what reads them tells them apart without reading gigabytes."""
    out = {}
    for path in sorted(folder.glob("*.npy")):
        with path.open("rb") as file:
            out[path.stem] = hashlib.file_digest(file, "sha256").hexdigest()
    return out


class _Arrays:
    """The `.npy` files of a folder, written a piece at a time, in any order; the rest is zeros.

    They are not memory maps: the pages that those make dirty count as the process's memory until the kernel
    has them on the disk, and a full disk ends the process without a message.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, tuple[BinaryIO, int]] = {}

    def put(self, name: str, shape: tuple[int, ...], start: int, values: Array) -> None:
        """Writes `values` from element `start` on, in C order; `shape` is that of the whole array."""
        with named(self._path(name)):
            if name not in self._open:
                self._open[name] = self._create(name, shape, values.dtype)
            file, first = self._open[name]
            file.seek(first + start * values.itemsize)
            file.write(np.ascontiguousarray(values).data)

    def close(self) -> None:
        for name, (file, _) in self._open.items():
            with named(self._path(name)):
                file.close()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _create(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> tuple[BinaryIO, int]:
        """An open file of zeros, and where its first element is."""
        file = self._path(name).open("wb")
        description = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": description, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        first = file.tell()
        file.truncate(first + math.prod(shape) * dtype.itemsize)
        return file, first


def _write_images(folder: Path, stored: StoredRows, views: int) -> None:
    keys = KeyTable(stored.keys)
    samples = keys.length // views
    with closing(_Arrays(folder)) as arrays:
        for places, row in all_rows(stored.space, keys):
            embedding = row["embedding"][0]  # (D,)
            for place in places.tolist():
                shape = (samples, views, len(embedding))
                arrays.put("embeddings", shape, place * embedding.size, embedding)
                if "hidden" in row:
                    hidden = row["hidden"]  # (P, H)
                    shape = (samples, views, *hidden.shape)
                    arrays.put("hidden", shape, place * hidden.size, hidden)
                sample, view = divmod(place, views)
                if "tokens" in row and view == 0:
                    tokens = row["tokens"]  # (P, H)
                    shape = (samples, *tokens.shape)
                    arrays.put("tokens", shape, sample * tokens.size, tokens)


def _write_texts(folder: Path, stored: StoredRows) -> None:
    keys = KeyTable(stored.keys)
    lengths = np.zeros(keys.length, dtype=np.int64)
    with closing(_Arrays(folder)) as arrays:
        # Two passes: the offsets of the ragged rows must be known before the first one is written.
        for places, row in all_rows(stored.space, keys):
            embedding = row.pop("embedding")[0]  # (D,)
            for place in places.tolist():
                shape: tuple[int, ...] = (keys.length, 1, len(embedding))
                arrays.put("embeddings", shape, place * embedding.size, embedding)
            for states in row.values():
                lengths[places] = len(states)
        if not lengths.any():
            return
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        arrays.put("offsets", offsets.shape, 0, offsets)
        for places, row in all_rows(stored.space, keys):
            del row["embedding"]
            for name, states in row.items():  # (T, H)
                width = states.shape[1]
                shape = (int(offsets[-1]), width)
                for place in places.tolist():
                    arrays.put(name, shape, int(offsets[place]) * width, states)


def all_rows(space: Space, keys: KeyTable) -> Iterator[tuple[Places, EncodedRow]]:
    """The positions and the row of each key.

    Raises:
        DamagedRowsError: the space lacks one, because a shard was damaged after it was written.
    """
    wanted, seen = len(keys.firsts()), 0
    for places, row in space.rows(keys):
        seen += 1
        yield places, row
    if seen < wanted:
        raise DamagedRowsError(
            f"{space.folder}: {wanted - seen} rows were damaged and are gone: run `dvc repro` again"
        )
