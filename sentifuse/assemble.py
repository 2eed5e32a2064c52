"""Store -> the files of `data/features/`: rows in the manifest's order, one shard in memory at a time."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sentifuse.errors import UserError
from sentifuse.features import Array, Meta
from sentifuse.files import named, write_json, write_text
from sentifuse.store import Row, Space


class DamagedRowsError(UserError):
    """Rows of the store were damaged after they were written; they are gone, and can be encoded again."""


def write(
    folder: Path,
    meta: Meta,
    guids: list[str],
    images: Space,
    image_keys: list[list[str]],
    texts: Space,
    text_keys: list[str],
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
    write_text(folder / "guids.txt", "".join(f"{guid}\n" for guid in guids))
    _write_images(folder, images, image_keys)
    _write_texts(folder, texts, text_keys)
    # Last: what has it is whole, and without it `features.read` takes nothing.
    write_json(folder / "meta.json", asdict(meta))


def _write_images(folder: Path, space: Space, keys: list[list[str]]) -> None:
    places = _places([key for views in keys for key in views])
    count, views = len(keys), len(keys[0])
    embeddings = tokens = hidden = None
    for key, row in _all_rows(space, places):
        if embeddings is None:
            dim = row["embedding"].shape[1]
            embeddings = _create(
                folder / "image_embeddings.npy", (count, views, dim), row["embedding"]
            )
        for place in places[key]:
            sample, view = divmod(place, views)
            embeddings[sample, view] = row["embedding"][0]
            if "tokens" in row and view == 0:
                shape = (count, *row["tokens"].shape)
                if tokens is None:
                    tokens = _create(folder / "image_tokens.npy", shape, row["tokens"])
                tokens[sample] = row["tokens"]
            if "hidden" in row:
                shape = (count, views, *row["hidden"].shape)
                if hidden is None:
                    hidden = _create(folder / "image_hidden.npy", shape, row["hidden"])
                hidden[sample, view] = row["hidden"]


def _write_texts(folder: Path, space: Space, keys: list[str]) -> None:
    places = _places(keys)
    ragged = {}
    # Two passes: the offsets of the ragged rows must be known before the first is placed.
    lengths = np.zeros(len(keys), dtype=np.int64)
    embeddings = None
    for key, row in _all_rows(space, places):
        if embeddings is None:
            shape = (len(keys), row["embedding"].shape[1])
            embeddings = _create(folder / "text_embeddings.npy", shape, row["embedding"])
        for place in places[key]:
            embeddings[place] = row["embedding"][0]
            for name in ("tokens", "hidden"):
                if name in row:
                    lengths[place] = len(row[name])
    if not lengths.any():
        return
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    _create(folder / "text_offsets.npy", offsets.shape, offsets)[:] = offsets
    for key, row in _all_rows(space, places):
        for name in ("tokens", "hidden"):
            if name not in row:
                continue
            if name not in ragged:
                shape = (int(offsets[-1]), row[name].shape[1])
                ragged[name] = _create(folder / f"text_{name}.npy", shape, row[name])
            for place in places[key]:
                ragged[name][offsets[place] : offsets[place + 1]] = row[name]


def _places(keys: list[str]) -> dict[str, list[int]]:
    """Key -> its positions: samples that share a file share a row of the store. Empty keys have none."""
    places: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        if key:
            places.setdefault(key, []).append(position)
    return places


def _all_rows(space: Space, places: dict[str, list[int]]) -> Iterable[tuple[str, Row]]:
    seen = 0
    for key, row in space.rows(set(places)):
        seen += 1
        yield key, row
    if seen < len(places):
        raise DamagedRowsError(
            f"{space.folder}: {len(places) - seen} rows were damaged and are gone: run `dvc repro` again"
        )


def _create(path: Path, shape: tuple[int, ...], like: Array) -> Array:
    # A new memory map is zeros.
    with named(path):
        array: Array = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # Else the file is a hole, and a full disk kills the process (SIGBUS) without a word.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
