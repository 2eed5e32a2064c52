"""The assembled features of a manifest: the files of `data/features/`, and how they are read.

| file | shape, dtype | what |
| --- | --- | --- |
| `meta.json` | | widths, layers, the tails' configs, the backbone's fingerprints |
| `encoding.json` | | how the rows were encoded: `encoding_record.EncodingRecord` |
| `guids.txt` | N lines | the manifest's order, which is that of all rows |
| `image_embeddings.npy` | (N, V, D) float32 | view 0 is the plain centre crop |
| `text_embeddings.npy` | (N, D) float32 | |
| `text_offsets.npy` | (N + 1,) int64 | sample i has rows `offsets[i]:offsets[i + 1]` of the next two |
| `text_tokens.npy`, `text_hidden.npy` | (sum of T, H) | after the last layer; at the split point |
| `image_tokens.npy` | (N, P, H) | after the last layer, plain view |
| `image_hidden.npy` | (N, V, P, H) | at the split point |
| `text_tail.safetensors`, `image_tail.safetensors` | | weights of the layers behind the split point |

A sample that lacks a modality (`manifest.missing`) has zeros there, and no text tokens; it is never trained
on. Files of states that were not asked for are absent. Arrays are memory-mapped when read.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentifuse.errors import UserError
from sentifuse.features.key_table import KeyTable

Array = NDArray[Any]


@dataclass(frozen=True)
class Meta:
    """What `meta.json` holds.

    Attributes:
        image_dim: width of the image embeddings.
        text_dim: width of the text embeddings.
        image_token_dim: width of the image tokens.
        text_token_dim: width of the text tokens.
        views: V, the plain view included.
        image_tail: config of the image encoder's tail, or None.
        text_tail: config of the text encoder's tail, or None.
        image_fingerprint: SHA-256 of the image encoder.
        text_fingerprint: SHA-256 of the text encoder.
    """

    image_dim: int
    text_dim: int
    image_token_dim: int
    text_token_dim: int
    views: int
    image_tail: dict[str, Any] | None
    text_tail: dict[str, Any] | None
    image_fingerprint: str
    text_fingerprint: str


@dataclass(frozen=True)
class Features:
    """The arrays of `data/features/`, memory-mapped; shapes as in the table above."""

    meta: Meta
    guids: list[str]
    image_embeddings: Array
    text_embeddings: Array
    text_offsets: Array | None = None
    text_tokens: Array | None = None
    image_tokens: Array | None = None
    text_hidden: Array | None = None
    image_hidden: Array | None = None

    def rows(self, guids: Iterable[str]) -> NDArray[np.int64]:
        """The row of each guid.

        Raises:
            UserError: a guid that has no features.
        """
        wanted = list(guids)
        rows = self._table.first(wanted)
        for place in np.flatnonzero(rows < 0):
            raise UserError(f"guid {wanted[place]} has no features: run `dvc repro preprocess`")
        return rows

    @cached_property
    def _table(self) -> KeyTable:
        return KeyTable(self.guids)


def read(folder: Path) -> Features:
    """Opens what `assemble.write` wrote.

    Raises:
        UserError: the folder or one of its files is missing or damaged.
    """
    meta_path = folder / "meta.json"
    names = [field.name for field in fields(Features)[2:]]
    paths = {name: folder / f"{name}.npy" for name in names}
    arrays: dict[str, Any] = {name: _array(path) for name, path in paths.items() if path.exists()}
    if not meta_path.exists() or not {"image_embeddings", "text_embeddings"} <= arrays.keys():
        raise UserError(f"{folder}: no features here: run `dvc repro preprocess`")
    try:
        meta = Meta(**json.loads(meta_path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _damaged(meta_path, error) from None
    guids = (folder / "guids.txt").read_text(encoding="utf-8").splitlines()
    return Features(meta, guids, **arrays)


def _array(path: Path) -> Array:
    try:
        mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, error) from None
    return mapped


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(
        f"{path}: damaged ({reason}): delete it and run `dvc repro`, after `python -m sentifuse mend` "
        "if it comes back"
    )
