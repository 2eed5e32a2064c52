"""The frame of the benchmarks: ratios, verdicts, the table, the figure."""

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import measurement
from benchmarks.measurement import Measurement


def measured(ratio: float, target: float | None = 2.0, better: str = "more") -> Measurement:
    return Measurement(
        "extraction", "images", "a plain loop", 20.0, 10.0, "images/s", ratio, target, better
    )


@pytest.mark.parametrize(
    ("ratio", "target", "better", "verdict"),
    [
        (2.0, 2.0, "more", "met"),
        (1.5, 2.0, "more", "missed by 25%"),
        (1.2, 1.2, "less", "met"),
        (1.5, 1.2, "less", "missed by 25%"),
        (0.1, None, "more", "told only"),
    ],
)
def test_a_verdict_says_whether_the_target_is_met_or_by_how_much_not(
    ratio: float, target: float | None, better: str, verdict: str
) -> None:
    assert measured(ratio, target, better).verdict == verdict


def test_contestants_take_turns_and_the_first_calls_are_not_timed() -> None:
    calls: list[str] = []
    seconds = measurement.side_by_side(
        {"ours": lambda: calls.append("ours"), "theirs": lambda: calls.append("theirs")},
        rounds=2,
        warm=1,
    )
    assert calls == ["ours", "theirs"] * 3
    assert [len(each) for each in seconds.values()] == [2, 2]


def test_the_ratio_is_the_median_over_the_rounds() -> None:
    assert measurement.times_as_fast([1.0, 1.0, 10.0], [2.0, 3.0, 10.0]) == 2.0


def test_the_table_has_ratio_target_verdict_and_both_figures() -> None:
    [line] = measurement.table([measured(1.5)]).splitlines()[2:]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        "extraction: images",
        "**1.5**",
        "≥ 2",
        "missed by 25%",
        "20 images/s",
        "10 images/s: a plain loop",
    ]


def test_results_are_written_and_read_back(tmp_path) -> None:
    lines = [measured(2.5), measured(0.9, None), measured(1.1, 1.2, "less")]
    command.write(lines, tmp_path)
    assert command.read(tmp_path / "results.json") == lines
    told = json.loads((tmp_path / "results.json").read_text())
    assert [line["met"] for line in told["measurements"]] == [True, None, True]
    assert told["machine"]["cores"] >= 1
    table = (tmp_path / "results.md").read_text()
    assert table.endswith(measurement.table(lines))
    assert f"cores: {told['machine']['cores']}" in table
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
