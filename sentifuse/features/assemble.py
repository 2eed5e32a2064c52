"""Store -> the files of `data/features/`: rows in the manifest's order, one shard in memory at a time."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path

import numpy as np

from sentifuse.errors import UserError
from sentifuse.features.array_file import ArrayFile
from sentifuse.features.key_table import KeyTable, Places
from sentifuse.features.schema import Array, Meta
from sentifuse.features.store.space import EncodedRow, Space
from sentifuse.runtime.files import write_json, writing


class DamagedRowsError(UserError):
    """Rows of the store were damaged after they were written; they are gone, and can be encoded again."""


def write(
    folder: Path,
    meta: Meta,
    guids: Iterable[str],
    images: Space,
    image_keys: Iterable[Sequence[str]],
    texts: Space,
    text_keys: Iterable[str],
) -> None:
    """Assembles the arrays from the store, one shard in memory at a time.

    Args:
        folder: `data/features`.
        meta: goes to `meta.json`.
        guids: N, in row order.
        images: the space of the image rows.
        image_keys: N lists of V keys, empty for a sample without an image: its rows are zeros.
        texts: the space of the text rows.
        text_keys: N keys, empty for a sample without a text: its row is zeros, it has no tokens.

    Raises:
        DamagedRowsError: a row is missing, because a shard was damaged after it was written.
    """
    # Arrays of an earlier run that this one does not write must not be taken for its own.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with writing(folder / "guids.txt") as file:
        file.writelines(f"{guid}\n" for guid in guids)
    _write_images(folder, images, KeyTable(chain.from_iterable(image_keys)), meta.views)
    _write_texts(folder, texts, KeyTable(text_keys))
    # Last: what has it is whole, and without it `features.read` takes nothing.
    write_json(folder / "meta.json", asdict(meta))


class _Arrays:
    """The arrays of a folder, each made when its first row tells shape and dtype."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, ArrayFile] = {}

    def put(self, name: str, shape: tuple[int, ...], start: int, values: Array) -> None:
        """Writes `values` from element `start` on; `shape` is that of the whole array."""
        if name not in self._open:
            self._open[name] = ArrayFile(self._folder / f"{name}.npy", shape, values.dtype)
        self._open[name].write(start, values)

    def close(self) -> None:
        for file in self._open.values():
            file.close()


def _write_images(folder: Path, space: Space, keys: KeyTable, views: int) -> None:
    shape = keys.length // views, views
    with closing(_Arrays(folder)) as arrays:
        for places, row in _all_rows(space, keys):
            for place in places.tolist():
                sample, view = divmod(place, views)
                for name, values in row.items():
                    if name == "embedding":
                        whole = (*shape, values.shape[1])
                        arrays.put("image_embeddings", whole, place * values.size, values)
                    elif name == "hidden":
                        whole = (*shape, *values.shape)
                        arrays.put("image_hidden", whole, place * values.size, values)
                    elif view == 0:
                        whole = (shape[0], *values.shape)
                        arrays.put("image_tokens", whole, sample * values.size, values)


def _write_texts(folder: Path, space: Space, keys: KeyTable) -> None:
    # Two passes: the offsets of the ragged rows must be known before the first is placed.
    lengths = np.zeros(keys.length, dtype=np.int64)
    with closing(_Arrays(folder)) as arrays:
        for places, row in _all_rows(space, keys):
            embedding = row.pop("embedding")
            whole = keys.length, embedding.shape[1]
            for place in places.tolist():
                arrays.put("text_embeddings", whole, place * embedding.size, embedding)
            for states in row.values():
                lengths[places] = len(states)
        if not lengths.any():
            return
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        arrays.put("text_offsets", offsets.shape, 0, offsets)
        for places, row in _all_rows(space, keys):
            del row["embedding"]
            for name, states in row.items():
                width = states.shape[1]
                whole = int(offsets[-1]), width
                for place in places.tolist():
                    arrays.put(f"text_{name}", whole, int(offsets[place]) * width, states)


def _all_rows(space: Space, keys: KeyTable) -> Iterator[tuple[Places, EncodedRow]]:
    wanted, seen = len(keys.firsts()), 0
    for places, row in space.rows(keys):
        seen += 1
        yield places, row
    if seen < wanted:
        raise DamagedRowsError(
            f"{space.folder}: {wanted - seen} rows were damaged and are gone: run `dvc repro` again"
        )
