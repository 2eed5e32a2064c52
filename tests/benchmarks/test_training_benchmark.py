"""The short form of the benchmark of training: that it works, not the clock."""

from pathlib import Path

import pytest

from benchmarks import training
from sentifuse.runtime import precision


@pytest.mark.parametrize("fast_in", ["fp32", "bf16"])
def test_it_measures_both_stages_in_what_the_processor_is_fast_in(
    fast_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = precision.resolve
    monkeypatch.setattr(
        precision,
        "resolve",
        lambda wanted, device="cpu": fast_in if wanted == "auto" else resolve(wanted, device),
    )
    found = training.measure(tmp_path, short=True)
    stage2 = [("stage 2", 20.0)] * (2 if fast_in == "bf16" else 1)
    assert [(each.what.partition(",")[0], each.target) for each in found] == [
        *stage2,
        ("stage 2", None),
        ("stage 1", None),
        ("stage 1", 1.0),
    ]
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)
