"""The command `export`, apart from the work itself: tests/sentifuse/deploy/exporting."""

import sys
from pathlib import Path
from typing import Any

import pytest

from sentifuse.cli import main
from sentifuse.errors import UserError


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sentifuse", "export", *arguments])
    main.main()


def test_it_hands_over_what_was_given_and_prints_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentifuse.deploy.exporting import write
    from sentifuse.deploy.exporting.gate import Measured

    given: dict[str, Any] = {}

    def export(bundle: Path, out: Path, **options: Any) -> Measured:
        given.update(options, bundle=bundle, out=out)
        return Measured(71, 7.8e-6, 1.0, None)

    monkeypatch.setattr(write, "export", export)
    call(monkeypatch, "models/bundle", "out", "--int8", "--samples", "a.csv", "--backbone", "clip")
    assert given == {
        "bundle": Path("models/bundle"),
        "out": Path("out"),
        "int8": True,
        "csv": Path("a.csv"),
        "places": "clip",
    }
    assert capsys.readouterr().out == (
        "out: 71 pairs: largest difference 7.8e-06, same label 100.00%\n"
    )


def test_another_format_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call(monkeypatch, "a", "b", "--format", "tflite")
    assert "invalid choice: 'tflite'" in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"^export: onnx is not installed: run `pip install -r "):
        call(monkeypatch, str(tmp_path), str(tmp_path / "out"))
