import io
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sentifuse.features.array_file import ArrayFile


def test_pieces_in_any_order_make_the_bytes_that_numpy_writes(tmp_path: Path) -> None:
    expected = np.arange(24, dtype=np.float16).reshape(4, 2, 3)
    with closing(ArrayFile(tmp_path / "x.npy", expected.shape, expected.dtype)) as file:
        for row in (2, 0, 3, 1):
            file.write(row * 6, expected[row])
    raw = io.BytesIO()
    np.save(raw, expected)
    assert (tmp_path / "x.npy").read_bytes() == raw.getvalue()


def test_what_is_not_written_is_zero(tmp_path: Path) -> None:
    with closing(ArrayFile(tmp_path / "x.npy", (5, 2), np.dtype(np.float32))) as file:
        file.write(4, np.ones((1, 2), dtype=np.float32))
    assert np.load(tmp_path / "x.npy").tolist() == [[0, 0], [0, 0], [1, 1], [0, 0], [0, 0]]


def test_values_need_not_lie_side_by_side_in_memory(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.int64).reshape(2, 3).T
    with closing(ArrayFile(tmp_path / "x.npy", (3, 2), values.dtype)) as file:
        file.write(0, values)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), values)


def test_an_array_may_be_empty(tmp_path: Path) -> None:
    with closing(ArrayFile(tmp_path / "x.npy", (0, 7), np.dtype(np.float32))) as file:
        file.write(0, np.zeros((0, 7), dtype=np.float32))
    assert np.load(tmp_path / "x.npy").shape == (0, 7)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_with_the_name_of_the_file(
    tmp_path: Path,
) -> None:
    file = ArrayFile(tmp_path / "x.npy", (10**6,), np.dtype(np.float32))
    os.dup2(os.open("/dev/full", os.O_WRONLY), file._file.fileno())
    with pytest.raises(OSError, match="No space") as caught:
        file.write(0, np.ones(10**6, dtype=np.float32))
    assert caught.value.filename == str(tmp_path / "x.npy")
