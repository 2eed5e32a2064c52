"""The short form of the benchmark of the pipeline: that it works, not the clock."""

from pathlib import Path

from benchmarks import pipeline


def test_each_run_on_the_demo_data_has_its_budget(tmp_path: Path) -> None:
    found = pipeline.measure(tmp_path, short=True)
    assert {each.what: each.theirs for each in found}.items() <= pipeline.BUDGETS.items()
    assert len(found) == 2
    for each in found:
        assert each.ratio == each.ours / each.theirs
        assert each.met is True  # to list the stages takes a second
