"""The same pairs give the same features, splits and scores, whichever layout they come in."""

import json
from pathlib import Path

import pytest

from stages import (
    demo_data,
    evaluate,
    preprocess,
    split,
    train_baselines,
    train_stage1,
    train_stage2,
)
from tests import packed
from tests.pipeline.project import Project, call
from tests.places import ROOT


def results(project: Project) -> dict[str, bytes]:
    """The bytes of features, splits, predictions and scores; the record of the run names no files."""
    kept = (
        "data/features/",
        "data/splits.csv",
        "data/evaluation/",
        "metrics/evaluate.json",
        "models/",
    )
    return {name: raw for name, raw in project.contents().items() if name.startswith(kept)}


def test_features_splits_and_scores_are_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    changes = {
        "demo.labelled": 180,
        "demo.unlabelled": 20,
        "augment.views": 0,
        "backbone.tokens": False,
    }
    project.set({**changes, "stage1.epochs": 2, "stage2.epochs": 0, "baselines.finetune": False})
    call(demo_data)
    found = {}
    for layout in ("course", *packed.PACKERS):
        root = Path("data/demo")
        if layout != "course":
            root = packed.pack(layout, root, Path("data", layout))
        project.set({"data.root": str(root)})
        for stage in (split, preprocess, train_stage1, train_stage2, train_baselines, evaluate):
            call(stage)
        found[layout] = results(project)
    expected = found.pop("course")
    assert json.loads(expected["metrics/evaluate.json"])["test"]["samples"] >= 18
    for layout, own in found.items():
        assert own.keys() == expected.keys(), layout
        assert [name for name in own if own[name] != expected[name]] == [], layout
