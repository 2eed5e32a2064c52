import io
import sys

import pytest

from sentifuse.runtime import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("seconds", "looks"), [(10.0, 2), (0.0, 6)])
def test_a_log_is_told_at_the_start_now_and_then_and_at_the_end(
    seconds: float,
    looks: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sentifuse.runtime.progress.SECONDS_IN_A_LOG", seconds)
    with progress.progress("encode images", 100, "images") as shown:
        for _ in range(4):
            shown.advance(25, "loss 0.500")
    captured = capsys.readouterr()
    told = captured.err.removeprefix("\r").split("\r")
    assert len(told) == looks
    assert all(each.startswith("encode images: ") for each in told)
    assert "0/100" in told[0]
    assert "100/100" in told[-1]
    assert "images/s, loss 0.500" in told[-1]
    assert told[-1].endswith("\n")
    assert captured.out == ""


def test_work_of_nothing_and_work_that_fails_end_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.progress("ablate", 0, "runs"):
        pass

    def work() -> None:
        with progress.progress("ablate", 4, "runs") as shown:
            shown.advance(1)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        work()
    first, second, after = capsys.readouterr().err.split("\n")
    assert first.split("\r")[-1].startswith("ablate: 0 runs")
    assert "1/4" in second.split("\r")[-1]
    assert after == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("sentifuse.runtime.progress.SECONDS_IN_A_LOG", 1e9)
    with progress.progress("encode texts", 4, "texts") as shown:
        assert shown.mininterval < 1
        shown.advance(4)
    assert "encode texts: 100%" in terminal.getvalue()
