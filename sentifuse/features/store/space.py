"""The content-addressed feature store: what was encoded once is not encoded again.

A space holds the rows that were encoded in one way; a row is found by the content hash of its input. The
space's name is a hash of all else that a row depends on. Rows lie in shards: safetensors files that are
named by the SHA-256 of their own bytes. So a shard appears whole or not at all, two runs that write at the
same time do not disturb each other, and damage is found. DVC does not track the store; `preprocess`
assembles its output from it. Deleting the store costs time only.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sentifuse.config import params
from sentifuse.errors import UserError
from sentifuse.features.key_table import KeyTable, Places
from sentifuse.runtime import scratch
from sentifuse.runtime.files import sha256, write_bytes, write_json

EncodedRow = dict[str, NDArray[np.generic]]

RECORD = "space.json"

_SHARDS = "*.safetensors"
_HASH_LENGTH = 32


def default_root() -> Path:
    """The store's folder, which all runs share: see `scratch`."""
    return scratch.folder("store")


@dataclass(frozen=True)
class SpaceRecord:
    """What the rows of a space are, on record beside its shards.

    The record is for people: the program finds a space by its name, which is a hash of `parts`.

    Attributes:
        modality: `image` or `text`.
        encoder: the name of the encoder that the last run used the space with.
        parts: all that a row depends on, besides its input.
    """

    __pydantic_config__ = params.STRICT
    modality: str
    encoder: str
    parts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name of the space."""
        return f"{self.modality}-{sha256(json.dumps(self.parts, sort_keys=True).encode())[:20]}"


@dataclass(frozen=True)
class Shard:
    """One file of a space, and the keys of its rows, in order."""

    path: Path
    keys: list[str]


class Space:
    """The rows that were encoded in one way."""

    def __init__(self, root: Path, name: str) -> None:
        """Opens the space `name` in the store at `root`; it need not exist yet."""
        self.folder = root / name

    def touch(self, record: SpaceRecord) -> None:
        """Notes that a run uses the space now: writes the record, or sets its time of change."""
        path = self.folder / RECORD
        with suppress(OSError):  # a store that is read-only is used all the same
            if self.record() == record:
                os.utime(path)
            else:
                write_json(path, asdict(record))

    def record(self) -> SpaceRecord | None:
        """What `touch` wrote; None where there is no record that can be read."""
        path = self.folder / RECORD
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return params.parse(SpaceRecord, values, str(path))
        except (OSError, ValueError, UserError):
            return None

    def paths(self) -> list[Path]:
        """The files of the shards, by name; some may be damaged."""
        return sorted(self.folder.glob(_SHARDS))

    def shards(self) -> Iterator[Shard]:
        """The shards, by name; deletes one that was cut off. Holds the keys of one shard at a time."""
        for path in self.paths():
            keys = read_keys(path)
            if keys is not None:
                yield Shard(path, keys)
            else:
                path.unlink(missing_ok=True)  # its rows are missing now

    def lacking(self, keys: Iterable[str]) -> NDArray[np.bool_]:
        """Which of N keys no shard has.

        Args:
            keys: an empty one stands for nothing.

        Returns:
            (N,), true at the first position of each such key.
        """
        table = KeyTable(keys)
        out = np.zeros(table.length, dtype=np.bool_)
        out[table.firsts()] = True
        for shard in self.shards():
            places = table.first(shard.keys)
            out[places[places >= 0]] = False
        return out

    def append(self, rows: Mapping[str, EncodedRow]) -> Path:
        """Writes `rows` as one shard.

        Args:
            rows: key -> the arrays of that row, with the same names and trailing dimensions in every
                row; the first dimension may differ (the number of tokens).

        Returns:
            The shard's path.
        """
        keys = list(rows)
        arrays: dict[str, NDArray[np.generic]] = {}
        for name in rows[keys[0]]:
            parts = [rows[key][name] for key in keys]
            arrays[name] = np.concatenate(parts)
            arrays[f"{name}.lengths"] = np.array([len(part) for part in parts], dtype=np.int64)
        raw = safetensors.numpy.save(arrays, metadata={"keys": json.dumps(keys)})
        path = self.folder / f"{_hash(raw)}.safetensors"
        # On the disk first: a shard that a power cut damages would be found, but its rows be lost.
        write_bytes(path, raw, unique=f"{os.getpid()}.", sync=True)
        return path

    def rows(self, wanted: KeyTable) -> Iterator[tuple[Places, EncodedRow]]:
        """The rows of the keys in `wanted`, shard by shard, each once; one shard is held at a time.

        A shard whose bytes do not match its name is deleted; its rows are then missing.

        Yields:
            The positions of the key in `wanted`, and its row.
        """
        given = np.zeros(wanted.length, dtype=np.bool_)
        for shard in self.shards():
            new = {
                index: places
                for index, places in enumerate(wanted.find(shard.keys))
                if len(places) and not given[places[0]]
            }
            arrays = _arrays(shard.path) if new else None
            if arrays is None:
                continue
            names = [name for name in arrays if not name.endswith(".lengths")]
            ends = {name: np.cumsum(arrays[f"{name}.lengths"]) for name in names}
            for index, places in new.items():
                given[places[0]] = True
                row = {}
                for name in names:
                    end = ends[name][index]
                    row[name] = arrays[name][end - arrays[f"{name}.lengths"][index] : end]
                yield places, row


def is_sound(path: Path) -> bool:
    """Whether a shard still has the bytes that it is named by."""
    return _hash(path.read_bytes()) == path.stem


def read_keys(path: Path) -> list[str] | None:
    """The keys of a shard; None for one that was cut off or damaged, or that another process removed."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            keys: list[str] = json.loads(file.metadata()["keys"])
            return keys
    except (FileNotFoundError, safetensors.SafetensorError, TypeError, KeyError, ValueError):
        return None


def _hash(raw: bytes) -> str:
    return sha256(raw)[:_HASH_LENGTH]


def _arrays(path: Path) -> dict[str, NDArray[np.generic]] | None:
    """The arrays of a shard; None, and no file, if it is gone or damaged, or has bad embeddings."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if _hash(raw) == path.stem:
        arrays: dict[str, NDArray[np.generic]] = safetensors.numpy.load(raw)
        # Old versions did not check embeddings: such rows are encoded again, and bad ones are told.
        if "embedding" not in arrays or np.isfinite(arrays["embedding"]).all():
            return arrays
    path.unlink(missing_ok=True)
    return None
