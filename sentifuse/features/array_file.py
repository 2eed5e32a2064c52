"""An `.npy` file that is written a piece at a time, in any order.

Not through a memory map: the pages that it makes dirty count as the process's memory until the kernel has
them on the disk, and a full disk ends it without a word.
"""

import math
from pathlib import Path

import numpy as np

from sentifuse.features.schema import Array
from sentifuse.runtime.files import named


class ArrayFile:
    """Zeros, where nothing is written."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        """Makes the file; it must be closed."""
        self._path = path
        with named(path):
            self._file = path.open("wb")
            description = np.lib.format.dtype_to_descr(dtype)
            np.lib.format.write_array_header_1_0(
                self._file, {"descr": description, "fortran_order": False, "shape": shape}
            )
            self._start = self._file.tell()
            self._file.truncate(self._start + math.prod(shape) * dtype.itemsize)

    def write(self, start: int, values: Array) -> None:
        """Writes `values`, of the array's dtype, from its element `start` on, in C order."""
        with named(self._path):
            self._file.seek(self._start + start * values.itemsize)
            self._file.write(np.ascontiguousarray(values).data)

    def close(self) -> None:
        """Hands what is left to the kernel."""
        with named(self._path):
            self._file.close()
