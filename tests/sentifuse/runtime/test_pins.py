"""Tests of the pinned versions against those at work."""

from importlib import metadata
from pathlib import Path

import pytest

from sentifuse.runtime import pins
from tools.closure import ROOT


def test_every_pin_is_an_installed_library_with_the_module_that_it_is_looked_for_by() -> None:
    import importlib.util

    names = [line.partition(":")[0] for line in (ROOT / pins.FILE).read_text().splitlines()[1:]]
    assert "torch" in names
    for name in names:
        assert importlib.util.find_spec(pins.module(name)) is not None, name


def test_what_is_used_in_its_pinned_version_is_not_worth_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = metadata.version("pytest")
    # Of what is pinned, but not imported here, nobody knows.
    (tmp_path / "pins.yaml").write_text(f'pytest: "{version}"\nno-such-library: "1.0"\n')
    pins.warn_if_other(tmp_path / "pins.yaml")
    pins.warn_if_other(tmp_path / "absent.yaml")
    assert capsys.readouterr().err == ""


def test_another_version_of_what_is_used_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", {"pytest": "9.9.1+local", "pluggy": "1.0"}.__getitem__)
    (tmp_path / "pins.yaml").write_text('pytest: "9.9.0"\npluggy: "1.0"\n')
    pins.warn_if_other(tmp_path / "pins.yaml")
    [line] = capsys.readouterr().err.splitlines()
    assert "this stage ran with pytest 9.9.1 (pinned: 9.9.0)" in line
    assert "pluggy" not in line


def test_the_mark_of_a_build_is_no_other_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", {"pytest": "2.13.0+cpu"}.__getitem__)
    (tmp_path / "pins.yaml").write_text('pytest: "2.13.0"\n')
    pins.warn_if_other(tmp_path / "pins.yaml")
    assert capsys.readouterr().err == ""
