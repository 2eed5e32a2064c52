"""The same params give the same bytes: on one core or many, after whatever ran before, in any order."""

import importlib
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from sentifuse.data import manifest
from sentifuse.features.engines import local
from tests.pipeline.project import OUTPUTS, STAGES, Project, call
from tests.serial_pool import SerialPool

CORES = sorted(os.sched_getaffinity(0))
FEATURES = "data/features/"

# All stages in one process on the cores that are named, with real worker processes.
_ON_CORES = """
import importlib, os, sys
from sentifuse.runtime import process
os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
for name in sys.argv[2:]:
    stage = importlib.import_module(f"stages.{name}")
    process.run_stage(stage.main, stage.Params)
"""


@pytest.fixture
def encode(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[pd.DataFrame], dict[str, bytes]]:
    """Runs `preprocess`, with a store that lasts for the test, on a manifest; returns the features."""
    project = finished.copy(tmp_path / "p", without=(".git", ".dvc", ".sentifuse"))
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)

    def run(samples: pd.DataFrame) -> dict[str, bytes]:
        manifest.write(samples, Path("data/manifest.csv"))
        call(importlib.import_module("stages.preprocess"))
        return features(project)

    run.project = project  # type: ignore[attr-defined]
    return run


def features(project: Project) -> dict[str, bytes]:
    return {name: raw for name, raw in project.contents().items() if name.startswith(FEATURES)}


def samples_of(project: Project) -> pd.DataFrame:
    return manifest.read(project.folder / "data" / "manifest.csv")


@pytest.mark.skipif(len(CORES) < 2, reason="one core only: nothing to compare with")
def test_one_core_gives_what_all_give(finished: Project, tmp_path: Path) -> None:
    """`finished` ran with all cores: another number of workers, of threads, and of jobs at a time."""
    alone = finished.copy(
        tmp_path / "p", without=(".git", ".dvc", "dvc.lock", ".sentifuse", *OUTPUTS)
    )
    assert alone.contents() == {}
    alone.run(sys.executable, "-c", _ON_CORES, str(CORES[0]), *STAGES)
    expected = {k: v for k, v in finished.contents().items() if not k.endswith(".gitignore")}
    found = alone.contents()
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.parametrize("order", ["first ten", "last ten", "one by one", "shuffled halves"])
def test_the_order_in_which_samples_come_into_the_store_does_not_matter(
    order: str, finished: Project, encode: Callable[[pd.DataFrame], dict[str, bytes]]
) -> None:
    samples = samples_of(finished)
    shuffled = samples.sample(frac=1, random_state=1)
    steps = {
        "first ten": [samples[:10]],
        "last ten": [samples[-10:]],
        "one by one": [
            samples[place : place + 1] for place in random.Random(1).sample(range(34), 8)
        ],
        "shuffled halves": [shuffled[:17], shuffled[17:]],
    }[order]
    for step in steps:
        partly = encode(step)
        assert partly.keys() == features(finished).keys()
        assert partly[f"{FEATURES}guids.txt"] != features(finished)[f"{FEATURES}guids.txt"]
    assert encode(samples) == features(finished)


def test_what_ran_before_in_the_process_does_not_matter(
    finished: Project, encode: Callable[[pd.DataFrame], dict[str, bytes]]
) -> None:
    project: Project = encode.project  # type: ignore[attr-defined]
    samples = samples_of(finished)
    params = (project.folder / "params.yaml").read_bytes()
    project.set({"augment.views": 2, "unfreeze_vision_layers": 1, "backbone.image_batch": 5})
    other = encode(samples)
    assert other != features(finished)
    # Generators as another stage may leave them.
    torch.manual_seed(123)
    random.seed(123)
    (project.folder / "params.yaml").write_bytes(params)
    assert encode(samples) == features(finished)
    for name in STAGES[STAGES.index("train_stage1") :]:
        torch.rand(7)
        call(importlib.import_module(f"stages.{name}"))
    expected = finished.contents()
    found = project.contents()
    assert [name for name in found if found[name] != expected[name]] == []
