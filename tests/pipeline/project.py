"""A whole project in a temporary folder: this tree's code on a tiny data set and a tiny CLIP."""

import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from PIL import Image

from sentifuse.config import params
from tests.places import ROOT
from tools.clip_folder import make_clip_folder

LABELS = ("negative", "neutral", "positive")
STAGES = (
    "demo_data", "split", "preprocess", "train_stage1", "train_stage2", "train_baselines", "evaluate",
    "package", "explain", "ablate", "cross_validate", "audit", "report", "infer",
)  # fmt: skip
OUTPUTS = ("data", "models", "metrics", "plots", "reports")

_CODE = (
    "dvc.yaml", "params.yaml", "pins.yaml", "stages", "sentifuse", "demo", "splits",
    ".dvcignore", ".gitignore", "data/.gitignore",
)  # fmt: skip
_WORDS = {
    "negative": ("bad day", "sad", "I hate it", "so tired…", "遗憾 的 一天"),
    "neutral": ("the day", "at work", "see http://t.co/x1", "a café noir", "天气 预报"),
    "positive": ("good day", "love it!", "@bob so happy #Joy", "déjà vu 😀", "开心 的 一天"),
}
_ENCODINGS = ("utf-8", "gbk", "latin-1")
_FORMATS = ((".jpg", "RGB"), (".png", "P"), (".webp", "RGB"), (".jpeg", "L"), (".png", "RGBA"))


@dataclass(frozen=True)
class Project:
    """A folder with the code, params, and whatever has been run there."""

    folder: Path

    def attempt(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Runs a command with this environment's Python; stderr is in its stdout."""
        # A file and no pipe: a daemon that the command leaves behind would hold a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=environment(self.folder.parent),
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            output.seek(0)
            text = output.read().decode("utf-8")
        return subprocess.CompletedProcess(command, done.returncode, text)

    def run(self, *command: str) -> str:
        """Stdout and stderr of a command that has to succeed."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def sentifuse(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "sentifuse", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Changes params, given by dotted keys."""
        path = self.folder / "params.yaml"
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in changes.items():
            *parents, last = key.split(".")
            section = document
            for parent in parents:
                section = section[parent]
            assert last in section, key
            section[last] = copy.copy(value)
        path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")

    def clone(self, folder: Path) -> "Project":
        """A fresh clone of this repository: nothing that git does not track."""
        self.git("clone", "--quiet", str(self.folder), str(folder))
        return Project(folder)

    def discard_changes(self) -> None:
        """Goes back to the last commit."""
        self.git("reset", "--quiet", "--hard")
        self.dvc("checkout", "--quiet")

    def contents(self) -> dict[str, bytes]:
        """The bytes of every output by its path."""
        paths = (path for name in OUTPUTS for path in sorted((self.folder / name).rglob("*")))
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in paths
            if path.is_file()
        }

    def copy(self, folder: Path, without: tuple[str, ...] = ()) -> "Project":
        def ignored(where: str, names: list[str]) -> set[str]:
            return set(without) if Path(where) == self.folder else set()

        shutil.copytree(self.folder, folder, ignore=ignored, symlinks=True)
        return Project(folder)


def stages_run(output: str) -> list[str]:
    """The stages that `dvc repro` or `dvc exp run` has run."""
    return re.findall(r"Running stage '(\w+)'", output)


def stages_restored(output: str) -> list[str]:
    """The stages that the run-cache spared."""
    return re.findall(r"Stage '(\w+)' is cached - skipping run, checking out outputs", output)


def lay_out(folder: Path) -> Project:
    """Makes a project in `folder` with the code and no data; nothing is committed yet."""
    project = Project(folder / "project")
    project.folder.mkdir()
    project.git("init", "--quiet")
    project.dvc("init", "--quiet")
    for name in _CODE:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, project.folder / name, ignore=ignored)
        else:
            (project.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(source, project.folder / name)
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, project.folder / ".dvc" / name)
    ignored = shutil.ignore_patterns("offline.html")
    shutil.copytree(ROOT / ".dvc" / "plots", project.folder / ".dvc" / "plots", ignore=ignored)
    return project


def finish(folder: Path) -> Project:
    """Makes a project in `folder`, runs `dvc repro` there and commits the results."""
    project = lay_out(folder)
    _draw_raw_data(project.folder / "raw")
    clip = make_clip_folder(folder / "clip")
    project.set(
        {
            "demo.labelled": 30,
            "demo.unlabelled": 2,
            "data.root": "raw",
            "backbone.image": str(clip),
            "backbone.text": str(clip),
            "backbone.precision": "fp32",  # on every machine
            "unfreeze_text_layers": 1,
            "augment.views": 0,
            "image_views.train": "plain",
            "image_views.predict": "plain",
            "head.hidden_dims": [8],
            "stage1.epochs": 3,
            "stage1.batch_size": 8,
            "stage2.epochs": 2,
            "stage2.batch_size": 8,
            "interval.resamples": 100,
            "ablate.repeats": 1,
            "explain.cards": 0,  # loading encoders takes some seconds
        }
    )
    project.commit("code")
    project.dvc("repro")
    project.commit("results")
    return project


def _draw_raw_data(root: Path) -> None:
    """30 labelled and 4 unlabelled pairs; texts in three encodings, images in five formats.

    Two labelled samples have one text, and a labelled one has the picture of one to predict.
    """
    rng = random.Random(1)
    pixels = np.random.default_rng(1)
    (root / "data").mkdir(parents=True)
    guids = rng.sample(range(1, 5000), 34)
    rows = [(guid, LABELS[number % 3]) for number, guid in enumerate(guids)]
    for number, (guid, label) in enumerate(rows):
        suffix, mode = _FORMATS[number % len(_FORMATS)]
        size = (rng.randint(20, 60), rng.randint(20, 60), 3)
        base = 60 * LABELS.index(label) + pixels.integers(0, 100, size)
        image = Image.fromarray(base.astype(np.uint8)).convert(mode)
        image.save(root / "data" / f"{guid}{suffix}")
        words = _WORDS[label][number // 3 % 5]
        line = f"{words} {guid}" if rng.random() < 0.5 else f"{guid} {words}"
        (root / "data" / f"{guid}.txt").write_bytes(_encode(line, number))
    for one, other, suffix in ((0, 3, ".txt"), (1, 31, ".png")):
        shutil.copy(
            root / "data" / f"{guids[one]}{suffix}", root / "data" / f"{guids[other]}{suffix}"
        )
    tables = {
        "train.txt": [f"{guid},{label}" for guid, label in rows[:30]],
        "test_without_label.txt": [f"{guid},null" for guid, _ in rows[30:]],
    }
    for name, lines in tables.items():
        (root / name).write_text("\n".join(["guid,tag", *lines]) + "\n", encoding="utf-8")


def _encode(line: str, number: int) -> bytes:
    """`line` in one of the encodings that can write it."""
    usable = [name for name in _ENCODINGS if line.encode(name, "ignore").decode(name) == line]
    return line.encode(usable[number % len(usable)])


def environment(scratch: Path) -> dict[str, str]:
    """Without what a hook, DVC or pytest would leak into a command, and without a network."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GIT_", "DVC_", "PYTEST_", "PYTHONPATH"))
    }
    bin_folder = str(Path(sys.executable).parent)
    return kept | {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "Test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(scratch / "dvc-site"),
        "HF_HUB_OFFLINE": "1",
    }


def call(stage: ModuleType) -> None:
    """Calls a stage with `params.yaml` of the working folder, in this process and without setting it up."""
    stage.main(params.load(stage.Params))
