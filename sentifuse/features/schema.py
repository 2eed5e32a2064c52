"""The assembled features of a manifest: the files of `data/features/`, and how they are read.

| file | shape, dtype | what |
| --- | --- | --- |
| `meta.json` | | the encoders, their widths, the configs of their tails; the SHA-256 of each array |
| `encoding.json` | | how the rows were encoded: `encoding_record.EncodingRecord` |
| `guids.txt` | N lines | the manifest's order, which is that of all rows |
| `prompts.safetensors` | (C, D) float32 | the labels in words, for encoders of a joint space: `prompts` |

and in a folder for each encoder, named by its key:

| file | shape, dtype | what |
| --- | --- | --- |
| `embeddings.npy` | (N, V, D) float32 | of an image: view 0 is the plain centre crop; of a text: V is 1 |
| `tokens.npy` | (N, P, H), or (sum of T, H) | after the last layer; of an image's plain view |
| `hidden.npy` | (N, V, P, H), or (sum of T, H) | at the split point |
| `offsets.npy` | (N + 1,) int64 | of texts: sample i has rows `offsets[i]:offsets[i + 1]` of these two |
| `tail.safetensors` | | weights of the layers behind the split point |

The text in the pictures (`backbone.ocr`) has a folder such as `ocr_minilm-l6`, with embeddings only: of a
picture without text they are zeros.

A sample that lacks a modality (`manifest.missing`) has zeros there, and no text tokens; it is never trained
on. Files of states that were not asked for are absent. Arrays are memory-mapped when read.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from sentifuse.config.backbone import Modality
from sentifuse.errors import UserError
from sentifuse.features.key_table import KeyTable

Array = NDArray[Any]
TAIL, PROMPTS = "tail.safetensors", "prompts.safetensors"


@dataclass(frozen=True)
class EncoderMeta:
    """What a model has to know of an encoder.

    Attributes:
        key: as of `registry.keys`.
        modality: what it reads.
        dim: width D of its embeddings.
        token_dim: width H of its tokens.
        tail: config of the layers behind the split point, as of a `TailSpec`; None if it stays frozen.
        fingerprint: SHA-256 of the encoder.
    """

    key: str
    modality: Modality
    dim: int
    token_dim: int
    tail: dict[str, Any] | None
    fingerprint: str


@dataclass(frozen=True)
class Meta:
    """What was encoded: V, the views of an image, the plain one included, and the encoders."""

    views: int
    encoders: tuple[EncoderMeta, ...]


@dataclass(frozen=True)
class Arrays:
    """The arrays of one encoder, memory-mapped; shapes as in the table above."""

    embeddings: Array
    tokens: Array | None = None
    hidden: Array | None = None
    offsets: Array | None = None


@dataclass(frozen=True)
class Features:
    """The features of N samples.

    Attributes:
        meta: the encoders.
        guids: of the samples, in the order of all rows.
        arrays: by the key of the encoder.
        digests: by the same key, the SHA-256 of the file of each array, which `preprocess` has noted; none
            of arrays that come from no file.
    """

    meta: Meta
    guids: list[str]
    arrays: Mapping[str, Arrays]
    digests: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

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


@dataclass(frozen=True)
class Described:
    """The labels as a text encoder describes them.

    Attributes:
        image: the key of an image encoder with the same joint space.
        text: the key of the text encoder.
        embeddings: (C, D) float32, each of length 1.
    """

    image: str
    text: str
    embeddings: Array


def encoder_metas(values: Sequence[Mapping[str, Any]]) -> tuple[EncoderMeta, ...]:
    """What `dataclasses.asdict` made of some `EncoderMeta`, back.

    Raises:
        TypeError: a field is missing, or not known.
    """
    return tuple(EncoderMeta(**each) for each in values)


def read(folder: Path) -> Features:
    """Opens what `assemble.write` wrote.

    Raises:
        UserError: the folder or one of its files is missing or damaged.
    """
    path = folder / "meta.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        meta = Meta(document["views"], encoder_metas(document["encoders"]))
        noted = document["digests"]
        digests = {each.key: dict(noted[each.key]) for each in meta.encoders}
    except FileNotFoundError:
        raise _absent(folder) from None
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, error) from None
    guids = (folder / "guids.txt").read_text(encoding="utf-8").splitlines()
    arrays = {each.key: _arrays(folder / each.key) for each in meta.encoders}
    return Features(meta, guids, arrays, digests)


def read_described(folder: Path) -> Described | None:
    """Reads what `prompts.write` wrote; None if it wrote nothing.

    Raises:
        UserError: a damaged file.
    """
    path = folder / PROMPTS
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="np") as file:
            image, text = json.loads(file.metadata()["keys"])
            return Described(image, text, file.get_tensor("prompts"))
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _arrays(folder: Path) -> Arrays:
    paths = {field.name: folder / f"{field.name}.npy" for field in fields(Arrays)}
    found: dict[str, Any] = {name: _array(path) for name, path in paths.items() if path.exists()}
    if "embeddings" not in found:
        raise _absent(folder)
    return Arrays(**found)


def _array(path: Path) -> Array:
    try:
        mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, error) from None
    return mapped


def _absent(folder: Path) -> UserError:
    return UserError(f"{folder}: no features here: run `dvc repro preprocess`")


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(
        f"{path}: damaged ({reason}): delete it and run `dvc repro`, after `python -m sentifuse mend` "
        "if it comes back"
    )
