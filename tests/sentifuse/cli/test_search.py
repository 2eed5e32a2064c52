"""Tests of the command `search`: what it refuses, and a whole search in a tiny project."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna", reason="optuna is not installed (requirements-search.txt)")

from sentifuse.cli import main
from sentifuse.errors import UserError
from sentifuse.runtime import files
from tests import toy_search
from tests.serial_pool import SerialPool

SPACE = "fusion: [concat, gated]\nstage1.lr_head: {low: 1.0e-4, high: 0.1, log: true}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy_search.make_project(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["sentifuse", *arguments])
    main.main()


def test_a_search_writes_a_recipe_that_the_command_recipe_reads(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentifuse.experiments.search import trials

    monkeypatch.setattr(trials, "ProcessPoolExecutor", SerialPool)
    monkeypatch.setattr(trials, "_start_worker", lambda free: None)
    call(monkeypatch, "search", "space.yaml", "--trials", "12", "--splits", "2", "--jobs", "1")
    said = capsys.readouterr().out
    assert said.startswith("trials: 12 (0 stopped early, 0 failed), stage 1 alone, macro-F1 ")
    names = ["trials.csv", "best.yaml", "history.png", "slices.png", "importance.png"]
    assert said.endswith("".join(f"wrote data/search/{name}\n" for name in names))
    assert all((project / "data/search" / name).exists() for name in names)
    call(monkeypatch, "recipe", "data/search/best.yaml")
    options = capsys.readouterr().out.split()
    assert options[::2] == ["-S", "-S"]
    assert sorted(option.split("=")[0] for option in options[1::2]) == ["fusion", "stage1.lr_head"]


@pytest.mark.parametrize("option", ["--trials", "--splits", "--jobs"])
def test_numbers_are_1_or_more(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    with pytest.raises(UserError, match=f"^{option} 0: expected 1 or more$"):
        call(monkeypatch, "search", "space.yaml", option, "0")


def test_without_optuna_it_says_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "optuna":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return load(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    told = r"^search: optuna is not installed: run `pip install -r requirements-search.txt`$"
    with pytest.raises(UserError, match=told):
        call(monkeypatch, "search", "space.yaml")


def test_without_features_or_splits_it_says_what_to_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "data/features/meta.json").unlink()
    with pytest.raises(UserError, match=r"^data/features: no features here: run `dvc repro "):
        call(monkeypatch, "search", "space.yaml")
    (project / "data/splits.csv").unlink()
    with pytest.raises(UserError, match=r"^data/splits.csv: no such file: run `dvc repro "):
        call(monkeypatch, "search", "space.yaml")


def test_features_of_other_params_are_not_searched(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentifuse.experiments.search import trials

    def stop(*arguments: Any) -> None:
        raise UserError("searched")

    monkeypatch.setattr(trials, "run", stop)
    lock = "stages: {preprocess: {params: {params.yaml: {seed: 7}}, outs: [{path: data/features}]}}"
    (project / "dvc.lock").write_text(lock, encoding="utf-8")
    toy_search.make_project(project, seed=7)
    with pytest.raises(UserError, match=r"^searched$"):
        call(monkeypatch, "search", "space.yaml")
    toy_search.make_project(project, seed=8)
    told = r"^data/features: made with other params or pins\.yaml: run `dvc repro preprocess`$"
    with pytest.raises(UserError, match=told):
        call(monkeypatch, "search", "space.yaml")


@pytest.mark.parametrize(("published", "test_size"), [(True, 0.0), (False, 0.2)])
def test_a_published_test_part_chooses_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, published: bool, test_size: float
) -> None:
    from sentifuse.experiments.search import trials

    files.write_json(project / "metrics/data.json", {"protocol": {"published": published}})
    searched: list[Any] = []

    def stop(search: Any, *more: Any) -> None:
        searched.append(search.data.test_size)
        raise UserError("stopped")

    monkeypatch.setattr(trials, "run", stop)
    with pytest.raises(UserError, match=r"^stopped$"):
        call(monkeypatch, "search", "space.yaml")
    assert searched == [test_size]


def test_without_validation_there_is_nothing_to_choose_by(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_search.make_project(project, **{"split.val_size": 0.0})
    with pytest.raises(UserError, match=r"^params.yaml: split.val_size: 0: a search chooses on "):
        call(monkeypatch, "search", "space.yaml")
