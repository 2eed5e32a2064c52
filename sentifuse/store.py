"""The content-addressed feature store: what was encoded once is not encoded again.

A space holds the rows of one encoder setting, a row is found by the content hash of its input. Rows lie
in shards, safetensors files named by the SHA-256 of their own bytes: a shard appears whole or not at
all, two runs that write at a time cannot disturb each other, and a damaged one gives itself away. DVC
does not track the store; `preprocess` assembles its output from it. Deleting it costs time only.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sentifuse import scratch
from sentifuse.files import sha256, write_bytes

Row = dict[str, NDArray[np.generic]]

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

    def shards(self) -> list[Shard]:
        """The shards that are there, in the order of their names."""
        return [Shard(path, _keys(path)) for path in sorted(self.folder.glob("*.safetensors"))]

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that no shard has, without repeats, in the order given."""
        there = {key for shard in self.shards() for key in shard.keys}
        return [key for key in dict.fromkeys(keys) if key not in there]

    def append(self, rows: Mapping[str, Row]) -> Path:
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
        path = self.folder / f"{sha256(raw)[:_NAME_LENGTH]}.safetensors"
        # On the disk first: a shard that a power cut damages is found, but costs its rows.
        write_bytes(path, raw, unique=f"{os.getpid()}.", sync=True)
        return path

    def rows(self, wanted: set[str]) -> Iterator[tuple[str, Row]]:
        """The rows with keys in `wanted`, shard by shard, each once; one shard is held at a time.

        A shard whose bytes do not match its name is deleted; its rows are then missing.
        """
        left = set(wanted)
        for shard in self.shards():
            if left.isdisjoint(shard.keys):
                continue
            raw = shard.path.read_bytes()
            if sha256(raw)[:_NAME_LENGTH] != shard.path.stem:
                shard.path.unlink()
                continue
            arrays = safetensors.numpy.load(raw)
            names = [name for name in arrays if not name.endswith(".lengths")]
            ends = {name: np.cumsum(arrays[f"{name}.lengths"]) for name in names}
            for index, key in enumerate(shard.keys):
                if key not in left:
                    continue
                left.remove(key)
                yield (
                    key,
                    {
                        name: arrays[name][
                            ends[name][index] - arrays[f"{name}.lengths"][index] : ends[name][index]
                        ]
                        for name in names
                    },
                )


def _keys(path: Path) -> list[str]:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            keys: list[str] = json.loads(file.metadata()["keys"])
            return keys
    except (safetensors.SafetensorError, TypeError, KeyError, ValueError):
        # Not a shard any more: cut off by a full disk or damaged. Its rows count as missing.
        path.unlink()
        return []
