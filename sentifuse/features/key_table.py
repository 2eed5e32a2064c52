"""The positions of many keys, in 24 bytes per key; a dict of strings takes about 250.

A key is known by 128 bits of its BLAKE2b hash. The chance that two of a hundred million keys share them is
below one in 10^22.
"""

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]

_BYTES = 16


class KeyTable:
    """Keys by their position; a key may have several positions."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Takes the keys in order; an empty one takes a position, too, but is never found."""
        digests, places = bytearray(), array("q")
        self.length = 0
        for key in keys:
            if key:
                digests += _digest(key)
                places.append(self.length)
            self.length += 1
        hashes = np.frombuffer(digests, dtype=f"S{_BYTES}")
        # Stable, so that the positions of a key stay in ascending order.
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._places: Places = np.frombuffer(places, dtype=np.int64)[order]

    def firsts(self) -> Places:
        """The first position of each key."""
        is_first = np.ones(len(self._hashes), dtype=np.bool_)
        is_first[1:] = self._hashes[1:] != self._hashes[:-1]
        firsts: Places = self._places[is_first]
        return firsts

    def first(self, keys: Iterable[str]) -> Places:
        """The first position of each of N `keys`, (N,); -1 for one that is not in the table."""
        starts, ends = self._ranges(keys)
        out = np.full(len(starts), -1, dtype=np.int64)
        found = starts < ends
        out[found] = self._places[starts[found]]
        return out

    def find(self, keys: Iterable[str]) -> list[Places]:
        """All positions of each of `keys`, ascending; none for a key that is not in the table."""
        starts, ends = self._ranges(keys)
        return [self._places[start:end] for start, end in zip(starts, ends, strict=True)]

    def _ranges(self, keys: Iterable[str]) -> tuple[Places, Places]:
        hashes = np.frombuffer(b"".join(map(_digest, keys)), dtype=f"S{_BYTES}")
        left = np.searchsorted(self._hashes, hashes, "left")
        return left, np.searchsorted(self._hashes, hashes, "right")


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_BYTES).digest()
