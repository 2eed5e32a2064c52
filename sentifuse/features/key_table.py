"""Where many keys stand, in 24 bytes a key: as a dict of strings they would take some 250.

A key is known by 128 bits of its BLAKE2b hash. That two of a hundred million share them is less likely
than one in 10^22.
"""

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

_BYTES = 16


class KeyTable:
    """Keys by their position; a key may stand at several."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Takes the keys in order; an empty one stands for none, and is not found."""
        hashes, places = bytearray(), array("q")
        self.length = 0
        for key in keys:
            if key:
                hashes += _hash(key)
                places.append(self.length)
            self.length += 1
        halves = np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)
        # Stable: equal keys stay in the order of their positions.
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        self._high, self._low = halves[order, 0], halves[order, 1]
        self._places: Places = np.frombuffer(places, dtype=np.int64)[order]

    def firsts(self) -> Places:
        """The first position of each key."""
        repeats = (self._high[1:] == self._high[:-1]) & (self._low[1:] == self._low[:-1])
        firsts: Places = self._places[np.concatenate([[True], ~repeats])[: len(self._places)]]
        return firsts

    def first(self, keys: Iterable[str]) -> Places:
        """The first position of each of N `keys`, (N,); -1 for one that is not here."""
        hashes = _halves(keys)
        out = np.full(len(hashes), -1, dtype=np.int64)
        if not len(self._places):
            return out
        at = np.searchsorted(self._high, hashes[:, 0]).clip(max=len(self._high) - 1)
        same = self._high[at] == hashes[:, 0]
        equal = same & (self._low[at] == hashes[:, 1])
        out[equal] = self._places[at[equal]]
        for place in np.flatnonzero(same & ~equal):  # half a hash in common: next to never
            found = self._find(hashes[place : place + 1])[0]
            out[place] = found[0] if len(found) else -1
        return out

    def find(self, keys: Iterable[str]) -> list[Places]:
        """The positions, ascending, of each of `keys`; none for one that is not here."""
        return self._find(_halves(keys))

    def _find(self, hashes: NDArray[np.uint64]) -> list[Places]:
        starts = np.searchsorted(self._high, hashes[:, 0], "left")
        ends = np.searchsorted(self._high, hashes[:, 0], "right")
        return [
            self._places[start:end][self._low[start:end] == low]
            for start, end, low in zip(starts, ends, hashes[:, 1], strict=True)
        ]


def _halves(keys: Iterable[str]) -> NDArray[np.uint64]:
    """The hashes of N keys, (N, 2)."""
    hashes = bytearray()
    for key in keys:
        hashes += _hash(key)
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)


def _hash(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_BYTES).digest()
