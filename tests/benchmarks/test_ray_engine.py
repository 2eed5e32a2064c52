"""The short form of the benchmark of the engine `ray`: that it works, not the clock."""

from pathlib import Path

import pytest

from sentifuse.features.engines import local

pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")

from benchmarks import ray_engine

# It makes full-size encoders; tests/sentifuse/features/engines/test_ray.py tests the engine itself.
pytestmark = [pytest.mark.cluster, pytest.mark.long]


def test_it_compares_both_engines_and_their_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(local.SHARD_SIZE, "image", local.SHARD_SIZE["image"])  # is set back
    found = ray_engine.measure(tmp_path, short=True)
    assert [(each.what, each.target) for each in found] == [
        ("images, steady state", 0.9),
        ("seconds to the first shard", None),
    ]
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)
