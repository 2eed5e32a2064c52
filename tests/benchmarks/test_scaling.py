"""The short form of the scaling benchmark works; its figures mean nothing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peak_memory, scaling
from benchmarks.peak_memory import Run
from benchmarks.scaling import Point
from sentifuse.features import schema

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc")

_TAKE = """
import subprocess, sys, time
taken = bytearray(int(sys.argv[1]) * 2**20)
taken[::4096] = b"x" * len(taken[::4096])
if len(sys.argv) > 2:
    subprocess.run([sys.executable, "-c", sys.argv[2], sys.argv[1]], check=True)
time.sleep(0.5)
"""


def take(folder: Path, *arguments: str) -> Run:
    return peak_memory.measure([sys.executable, "-c", _TAKE, *arguments], folder, {})


def test_the_peak_is_that_of_all_processes_together(tmp_path: Path) -> None:
    alone, both = take(tmp_path, "100"), take(tmp_path, "100", _TAKE)
    assert 100 < alone.own < 140
    assert 200 < both.own < 280
    assert alone.seconds > 0.5


def test_a_mapped_file_is_told_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((100, 2**18), dtype=np.float32))
    read = "import numpy as np, time; x = np.load('x.npy', mmap_mode='r'); x.sum(); time.sleep(0.5)"
    found = peak_memory.measure([sys.executable, "-c", read], tmp_path, {})
    assert found.mapped > 100
    assert found.own < 90


def test_a_command_that_fails_is_told_with_what_it_printed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3:\nwhy"):
        peak_memory.measure(
            [sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], tmp_path, {}
        )


def test_growth_is_of_the_most_pairs_over_the_least_in_memory_and_the_next_in_time() -> None:
    seconds, own = (20.0, 100.0, 900.0), (100.0, 105.0, 110.0)
    points = [
        Point(stage, pairs, Run(s, o, 1.0))
        for stage in scaling.STAGES
        for pairs, s, o in zip(scaling.SIZES, seconds, own, strict=True)
    ]
    found = scaling.growth(points)
    assert len(found) == 2 * len(scaling.STAGES)
    for memory, time in zip(found[::2], found[1::2], strict=True):
        assert memory.ratio == pytest.approx(1.1)
        assert (memory.ours, memory.theirs) == (110.0, 100.0)
        assert time.ratio == pytest.approx(0.9)
        assert (time.ours, time.theirs) == pytest.approx((9.0, 10.0))


def test_drawn_features_are_read_as_features(tmp_path: Path) -> None:
    scaling.write_features(tmp_path / "features", 50, 8)
    found = schema.read(tmp_path / "features")
    assert list(found.arrays) == ["image_net", "text_net"]
    for arrays in found.arrays.values():
        assert arrays.embeddings.shape == (50, 1, 8)
        assert abs(float(arrays.embeddings.std()) - 1) < 0.2
    assert found.rows(["0000049", "0000000"]).tolist() == [49, 0]


@pytest.mark.long
def test_the_short_form_runs(tmp_path: Path) -> None:
    found = scaling.measure(tmp_path, short=True)
    assert [each.part for each in found] == ["memory"] * 9
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found[:6])
    series = json.loads((tmp_path / "series.json").read_text(encoding="utf-8"))
    assert [(point["stage"], point["pairs"]) for point in series] == [
        (stage, pairs) for pairs in scaling.SHORT_SIZES for stage in scaling.STAGES
    ]
    for pairs in scaling.SHORT_SIZES:
        written = tmp_path / "stages" / str(pairs) / "data" / "predictions" / "submission.txt"
        assert len(written.read_text(encoding="utf-8").splitlines()) == pairs - 48 + 1
