"""The frame of the benchmarks: ratios, verdicts, the table, the figure."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import measurement
from benchmarks.__main__ import Run
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
    runs = {"extraction": Run({"cores": 2, "held to": None}, lines)}
    command.write(runs, tmp_path)
    assert command.read(tmp_path) == runs
    told = json.loads((tmp_path / "results.json").read_text())["extraction"]["measurements"]
    assert [line["met"] for line in told] == [True, None, True]
    page = (tmp_path / "results.md").read_text()
    assert page.endswith(measurement.table(lines))
    assert "`python -m benchmarks --only extraction` on: cores: 2.\n" in page
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_topic_replaces_its_own_lines_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of = {"training": Run({}, [measured(1.0)]), "extraction": Run({}, [measured(2.0)])}
    command.write(of, tmp_path)
    monkeypatch.setattr(command, "run", lambda module, short: [measured(3.0)])
    command.main(["--only", "extraction", "--out", str(tmp_path)])
    found = command.read(tmp_path)
    assert list(found) == ["extraction", "training"]  # in the order of a whole run
    assert found["training"] == of["training"]
    assert found["extraction"].measurements == [measured(3.0)]
    assert found["extraction"].on["cores"] == len(os.sched_getaffinity(0))
    assert "**3**" in capsys.readouterr().out


def test_a_short_run_leaves_the_results_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr(command, "run", lambda module, short: [measured(3.0)])
    monkeypatch.setattr(command, "write", lambda runs, out: written.append(out))
    command.main(["--short", "--only", "extraction"])
    assert len(written) == 1
    assert written[0] != command.OUT
