"""The committed tables of the benchmarks are those of the committed figures."""

from benchmarks.__main__ import OUT, USUAL, read, results


def test_the_tables_are_those_of_the_committed_results() -> None:
    found = read(OUT)
    assert [topic for topic in USUAL if topic not in found] == []
    told = (OUT / "results.md").read_text(encoding="utf-8")
    assert told == results(found)
    assert "| pipeline: demo: dvc repro, nothing cached |" in told
