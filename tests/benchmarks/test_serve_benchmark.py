"""The short form of the benchmark of the server: that it works, not the clock."""

from pathlib import Path

import pytest

pytest.importorskip("onnxscript", reason="onnxscript is not installed (requirements-export.txt)")
pytest.importorskip("fastapi", reason="fastapi is not installed (requirements-serve.txt)")

from benchmarks import serve


@pytest.mark.long  # two minutes: it exports the bundled encoders twice, and starts eight servers
def test_it_measures_all_models_and_nothing_is_lost(tmp_path: Path) -> None:
    found = serve.measure(tmp_path, short=True)
    names = [each.what.partition(",")[0] for each in found]
    of_one_model = [*["requests", "latency p50", "latency p99"] * 3, "right answers"]
    assert [name for name in names if name in of_one_model] == of_one_model * 3
    assert len(found) == 3 * len(of_one_model) + 2
    for each in found:
        assert each.ours > 0
        if each.what.startswith(("right answers", "refusals")):
            assert each.met, each
