"""The committed table of the benchmarks is that of the committed figures."""

from benchmarks.__main__ import OUT, read, results


def test_the_table_is_that_of_the_committed_results() -> None:
    found = read(OUT / "results.json")
    assert {each.part for each in found} == {"extraction", "training", "memory", "ray", "pipeline"}
    told = (OUT / "results.md").read_text(encoding="utf-8")
    assert told == results(OUT / "results.json")
    assert "| pipeline: demo: dvc repro, nothing cached |" in told
