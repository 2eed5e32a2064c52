"""That every line of the benchmark of a GPU works, on the processor where there is none."""

from pathlib import Path

import pytest

from benchmarks import extraction, gpu
from sentifuse.errors import UserError
from sentifuse.features.engines import local
from sentifuse.runtime import devices
from tests.serial_pool import SerialPool


def test_the_short_form_measures_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    monkeypatch.setattr(extraction, "ProcessPoolExecutor", SerialPool)
    found = gpu.measure(tmp_path, short=True)
    assert [each.target for each in found] == [2.0, 0.9, 20.0, 1.0, None]
    assert {each.part for each in found} == {"gpu"}
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)


def test_without_a_gpu_there_are_no_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "kind", lambda: "cpu")
    with pytest.raises(UserError, match=r"^benchmarks: gpu: torch finds no GPU here"):
        gpu.measure(tmp_path, short=False)
