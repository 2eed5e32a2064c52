"""Searches to analyse: made-up experiments, and a repository with a few real ones of `dvc exp run`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sentifuse.experiments.read import Experiment
from tests.places import ROOT

_PARAMS = """\
seed: 42
fusion: concat
backbone: {fingerprint: null}
head: {hidden_dims: [256, 64]}
stage2: {lr_clip: 1.0e-4, restart_head: true}
"""
_TRAIN = """\
import json, math, sys
from ruamel.yaml import YAML
params = YAML(typ="safe").load(open("params.yaml"))
if params["fusion"] == "broken":
    sys.exit(1)
score = 0.6 + 0.1 * math.log10(params["stage2"]["lr_clip"] * 1e4) + 0.01 * len(params["fusion"])
parts = {
    "val": {"macro_f1": score, "samples": 60, "interval": {"macro_f1": {"low": 0.1, "high": 0.9}}},
    "test": {"macro_f1": 1 - score},
}
json.dump(parts, open("metrics/evaluate.json", "w"))
json.dump({"multimodal": {"macro_f1": {"mean": 0.5}}}, open("metrics/ablate.json", "w"))
"""
_DVC = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py]
    params: [seed, fusion, backbone, head, stage2]
    metrics:
      - metrics/evaluate.json: {cache: false}
      - metrics/ablate.json: {cache: false}
"""


def experiment(name: str, score: float | None, **params: Any) -> Experiment:
    """One with `val.macro_f1`; `__` in the name of a param stands for a dot."""
    metrics = {"val.samples": 60} if score is None else {"val.macro_f1": score}
    dotted = {key.replace("__", "."): value for key, value in params.items()}
    return Experiment(name, f"{name}-commit", "main", "2026-01-02T03:04:05Z", dotted, metrics)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DVC_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(
        command,
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def call(folder: Path, *command: str) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_repository(folder: Path) -> None:
    """A commit with results, and four experiments: three of it, one of a later commit."""
    make_commit(folder)
    for name, options in (
        ("gated", ("fusion=gated",)),
        ("fast", ("stage2.lr_clip=1e-3", "head.hidden_dims=[]")),
        ("slow", ("stage2.lr_clip=5e-6", "backbone.fingerprint=main")),
    ):
        make_experiment(folder, name, *options)
    call(folder, "git", "commit", "--quiet", "--allow-empty", "--message", "later")
    make_experiment(folder, "film", "fusion=film")


def make_commit(folder: Path, git: Path | None = None, dvc: Path | None = None) -> None:
    """A commit with results in `folder`; where Git's and DVC's repositories begin, if not there."""
    git, dvc = git or folder, dvc or folder
    for name, text in (("params.yaml", _PARAMS), ("train.py", _TRAIN), ("dvc.yaml", _DVC)):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "metrics").mkdir()
    (folder / ".gitignore").write_text("/data/\n", encoding="utf-8")
    call(git, "git", "init", "--quiet", "--initial-branch=main")
    call(git, "git", "config", "user.email", "test@example.org")
    call(git, "git", "config", "user.name", "Test")
    call(dvc, "dvc", "init", "--quiet", *(["--subdir"] if dvc != git else []))
    (dvc / ".dvc" / "config").write_text("[core]\n    check_update = false\n")
    call(folder, "dvc", "repro", "--quiet")
    call(git, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", "results")


def make_experiment(folder: Path, name: str, *options: str) -> None:
    changes = [part for option in options for part in ("--set-param", option)]
    # Git tells the time in whole seconds, by which experiments are sorted: each gets one of its own.
    time.sleep(1 - time.time() % 1)
    call(folder, "dvc", "exp", "run", "--quiet", "--name", name, *changes)
    call(folder, "git", "checkout", "--quiet", ".")
