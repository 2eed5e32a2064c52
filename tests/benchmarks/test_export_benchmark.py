"""The short form of the benchmark of exports: that it works, not the clock."""

from pathlib import Path

import pytest

pytest.importorskip("onnxscript", reason="onnxscript is not installed (requirements-export.txt)")

from benchmarks import export


@pytest.mark.long  # a minute: it exports the bundled encoders twice, and starts processes
def test_it_measures_both_precisions_beside_the_bundle(tmp_path: Path) -> None:
    found = export.measure(tmp_path, short=True)
    assert [(each.what.partition(",")[0], each.target) for each in found] == [
        *[("start to first answer", 1.0)] * 2,
        *[("latency of one pair", None)] * 4,
        ("throughput", None),
        ("throughput", 2.0),
        ("size", None),
    ]
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)
