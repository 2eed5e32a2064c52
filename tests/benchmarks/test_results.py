"""The committed results of the benchmarks are what the README shows."""

from benchmarks import measurement
from benchmarks.__main__ import OUT, read
from tests.pipeline.project import ROOT


def test_the_readmes_table_is_that_of_the_committed_results() -> None:
    found = read(OUT / "results.json")
    assert {each.part for each in found} == {"extraction", "training", "memory", "ray"}
    table = measurement.table(found)
    assert (OUT / "results.md").read_text(encoding="utf-8") == table
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")
