import io
import re
import sys
from itertools import count

import pytest

from sentifuse.runtime import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the start, to be changed by the test."""
    now = [100.0]
    monkeypatch.setattr("sentifuse.runtime.progress.time.monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress("encode images", 100, "images") as shown:
        for _ in range(50):
            clock[0] += 1
            shown.advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "encode images: 20/100 images, 2.0/s, 40 s left",
        "encode images: 40/100 images, 2.0/s, 30 s left",
        "encode images: 60/100 images, 2.0/s, 20 s left",
        "encode images: 80/100 images, 2.0/s, 10 s left",
        "encode images: 100/100 images, 2.0/s, 0 s left",
        "encode images: 100 images in 50.0 s (2.0/s)",
    ]


def test_a_note_stands_behind_the_rate(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress("stage 1", 4, "epochs") as shown:
        clock[0] += 20
        shown.advance(1, "loss 0.500")
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "stage 1: 1/4 epochs, 0.1/s, 60 s left, loss 0.500"


def test_quick_work_is_one_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("ablate", 3, "runs") as shown:
        for _ in range(3):
            clock[0] += 1
            shown.advance(1)
    captured = capsys.readouterr()
    assert captured.err == "ablate: 3 runs in 3.0 s (1.0/s)\n"
    assert captured.out == ""


def test_work_that_took_no_time_has_a_closing_line(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.progress("ablate", 0, "runs"):
        pass
    assert capsys.readouterr().err == "ablate: 0 runs in 0.0 s (0.0/s)\n"


def test_the_closing_line_is_printed_when_work_fails(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with progress.progress("ablate", 4, "runs") as shown:
            clock[0] += 2
            shown.advance(1)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        work()
    assert capsys.readouterr().err == "ablate: 1 runs in 2.0 s (0.5/s)\n"


def test_a_terminal_gets_a_bar_that_is_wiped_and_the_closing_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    ticks = count(100.0, 20.0)
    monkeypatch.setattr("sentifuse.runtime.progress.time.monotonic", lambda: next(ticks))
    with progress.progress("encode texts", 4, "texts") as shown:
        assert shown._bar is not None
        # Whether tqdm draws at a given step depends on time.
        shown._bar.mininterval = 0
        for _ in range(4):
            shown.advance(1, "loss 1.0")
        assert (shown.done, shown._bar.n) == (4, 4)
    text = terminal.getvalue()
    assert "encode texts" in text
    assert "4/4" in text
    assert "loss 1.0" in text
    assert "s left" not in text
    assert re.search(r"\rencode texts: 4 texts in [\d.]+ s \([\d.]+/s\)\n$", text)
