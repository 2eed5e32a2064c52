"""The content-addressed feature store: what was encoded once is not encoded again.

A space holds the rows of one encoder setting, a row is found by the content hash of its input. Rows lie
in shards, safetensors files named by the SHA-256 of their own bytes: a shard appears whole or not at
all, two runs that write at a time cannot disturb each other, and a damaged one gives itself away. A space
is described by `space.json` (`space_record`). DVC does not track the store; `preprocess`
assembles its output from it. Deleting it costs time only.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sentifuse.features.key_table import KeyTable, Places
from sentifuse.runtime import scratch
from sentifuse.runtime.files import sha256, write_bytes

EncodedRow = dict[str, NDArray[np.generic]]

SUFFIX = ".safetensors"

_NAME_LENGTH = 32


@dataclass(frozen=True)
class Shard:
    """One file of a space: which rows it has, in order."""

    path: Path
    keys: list[str]


def default_root() -> Path:
    """The store's folder, which all runs share: see `scratch`."""
    return scratch.folder("store")


class Space:
    """The rows of one encoder setting."""

    def __init__(self, root: Path, name: str) -> None:
        """Opens the space `name` in the store at `root`; it need not exist yet."""
        self.folder = root / name

    def shards(self) -> Iterator[Shard]:
        """The shards that are there, in the order of their names; the keys of one at a time are held."""
        for path in self.paths():
            keys = read_keys(path)
            if keys is not None:
                yield Shard(path, keys)
            else:
                path.unlink(missing_ok=True)  # its rows are missing now

    def paths(self) -> list[Path]:
        """The files of the shards, by name, damaged ones among them."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))

    def lacking(self, keys: Iterable[str]) -> NDArray[np.bool_]:
        """Which of N keys no shard has.

        Args:
            keys: one may be empty: it stands for nothing.

        Returns:
            (N,), true at the first position of each such key.
        """
        table = KeyTable(keys)
        out = np.zeros(table.length, dtype=np.bool_)
        out[table.firsts()] = True
        for shard in self.shards():
            for places in table.find(shard.keys):
                out[places[:1]] = False
        return out

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that no shard has, without repeats, in the order given."""
        keys = list(keys)
        return list(compress(keys, self.lacking(keys)))

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
        path = self.folder / f"{_name(raw)}{SUFFIX}"
        # On the disk first: a shard that a power cut damages is found, but costs its rows.
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
            if not new:
                continue
            arrays = _arrays(shard.path)
            if arrays is None:
                continue
            names = [name for name in arrays if not name.endswith(".lengths")]
            ends = {name: np.cumsum(arrays[f"{name}.lengths"]) for name in names}
            for index, places in new.items():
                given[places[0]] = True
                yield (
                    places,
                    {
                        name: arrays[name][
                            ends[name][index] - arrays[f"{name}.lengths"][index] : ends[name][index]
                        ]
                        for name in names
                    },
                )


def is_sound(path: Path) -> bool:
    """Whether the bytes of a shard are those that it is named by."""
    return _name(path.read_bytes()) == path.stem


def _name(raw: bytes) -> str:
    return sha256(raw)[:_NAME_LENGTH]


def read_keys(path: Path) -> list[str] | None:
    """The keys of a shard; None for one that was cut off or damaged, or that another process removed."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            keys: list[str] = json.loads(file.metadata()["keys"])
            return keys
    except (FileNotFoundError, safetensors.SafetensorError, TypeError, KeyError, ValueError):
        return None


def _arrays(path: Path) -> dict[str, NDArray[np.generic]] | None:
    """What a shard holds; None for one that is gone, damaged, or has embeddings that are not numbers."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if _name(raw) != path.stem:
        path.unlink(missing_ok=True)
        return None
    arrays: dict[str, NDArray[np.generic]] = safetensors.numpy.load(raw)
    # A shard from before embeddings were checked: its rows are encoded again, and the bad ones told.
    if not np.isfinite(arrays["embedding"]).all():
        path.unlink(missing_ok=True)
        return None
    return arrays
