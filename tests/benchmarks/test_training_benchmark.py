"""The short form of the benchmark of training: that it works, not the clock."""

from pathlib import Path

from benchmarks import training


def test_it_measures_both_stages_beside_their_references(tmp_path: Path) -> None:
    found = training.measure(tmp_path, short=True)
    assert [(each.what.partition(",")[0], each.target) for each in found] == [
        ("stage 2", 20.0),
        ("stage 2", 20.0),
        ("stage 2", None),
        ("stage 1", None),
        ("stage 1", 1.0),
    ]
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)
