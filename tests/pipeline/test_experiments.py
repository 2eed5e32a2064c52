"""Experiments with the real `dvc`: the commands of `docs/running-experiments.md`."""

import csv
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipeline.project import Project, stages_restored, stages_run

EVALUATE = "metrics/evaluate.json"
LIMIT = 600  # seconds that a queue may take


@pytest.fixture
def project(experimented: Project, tmp_path: Path) -> Project:
    """A copy of a finished project with the experiment `gated`, not applied."""
    return experimented.copy(tmp_path / "project")


@pytest.fixture
def queue(copied: Project) -> Iterator[Project]:
    """A project whose queue's workers are gone at the end, come what may."""
    yield copied
    copied.attempt("dvc", "queue", "stop", "--kill")
    _, left = psutil.wait_procs(processes(copied.folder), timeout=10)
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=10)
    assert processes(copied.folder) == []


def processes(folder: Path) -> list[psutil.Process]:
    """Those that work in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # it has ended, or is another user's
    return found


def listed(project: Project) -> dict[str, Any]:
    """The experiments on the last commit by name, by `dvc exp show`."""
    [_, commit] = json.loads(project.dvc("exp", "show", "--json"))
    return {each["name"]: each["revs"][0]["data"] for each in commit["experiments"] or []}


def params(data: dict[str, Any]) -> dict[str, Any]:
    return dict(data["params"]["params.yaml"]["data"])


def metrics(project: Project, revision: str = "HEAD") -> dict[str, Any]:
    """What `evaluate` wrote, in a commit or an experiment."""
    if revision != "HEAD":
        [line] = project.git("for-each-ref", "refs/exps/*/*/" + revision).splitlines()
        revision = line.split()[0]
    return dict(json.loads(project.git("show", f"{revision}:{EVALUATE}")))


def test_an_experiment_is_listed_with_its_params_and_scores(project: Project) -> None:
    [(name, data)] = listed(project).items()
    assert (name, params(data)["fusion"]) == ("gated", "gated")
    assert data["metrics"][EVALUATE]["data"] == metrics(project, "gated")
    rows = list(csv.DictReader(io.StringIO(project.dvc("exp", "show", "--csv"))))
    [gated] = [row for row in rows if row["Experiment"] == "gated"]
    assert float(gated["test.macro_f1"]) == metrics(project, "gated")["test"]["macro_f1"]
    # The workspace is as it was.
    assert project.git("status", "--porcelain") == ""


def test_two_experiments_are_compared(project: Project) -> None:
    diff = json.loads(project.dvc("metrics", "diff", "--all", "--json", "HEAD", "gated"))[EVALUATE]
    for key, revision in (("old", "HEAD"), ("new", "gated")):
        expected = metrics(project, revision)["test"]["macro_f1"]
        assert diff["test.macro_f1"][key] == expected
    project.dvc("plots", "diff", "HEAD", "gated")
    page = (project.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    for title in ("stage 1 - validation", "stage 2 - loss", "confusion matrix", "ablation - means"):
        assert title in page
    assert '"rev": "gated"' in page


def test_an_experiment_is_applied_with_its_model_and_made_a_branch(project: Project) -> None:
    model = project.folder / "models" / "stage1" / "model.safetensors"
    default = model.read_bytes()
    project.dvc("exp", "branch", "gated", "try-gated")
    project.dvc("exp", "apply", "gated")
    assert model.read_bytes() != default
    output = project.dvc("repro")
    assert stages_run(output) == stages_restored(output) == []
    project.discard_changes()
    assert model.read_bytes() == default
    project.git("checkout", "--quiet", "try-gated")
    project.dvc("checkout")
    assert project.dvc("status") == "Data and pipelines are up to date.\n"
    assert json.loads((project.folder / EVALUATE).read_text()) == metrics(project)
    assert model.read_bytes() != default


def test_going_back_to_an_earlier_run_trains_nothing(project: Project) -> None:
    output = project.dvc("exp", "run", "--set-param", "fusion=gated")
    assert stages_run(output) == []
    assert stages_restored(output)[:2] == ["train_stage1", "train_stage2"]


def test_a_named_recipe_is_an_experiment(copied: Project) -> None:
    recipe = copied.folder / "recipes" / "tiny.yaml"
    recipe.parent.mkdir()
    recipe.write_text("fusion: film\nhead:\n  hidden_dims: [4, 4]\nstage1:\n  epochs: 1\n")
    options = copied.sentifuse("recipe", "recipes/tiny.yaml").split()
    output = copied.dvc("exp", "run", "--name", "tiny", *options, "evaluate")
    # The baselines need nothing of the two stages, so DVC may run them first.
    ran = stages_run(output)
    assert [stage for stage in ran if stage != "train_baselines"] == [
        "train_stage1", "train_stage2", "evaluate",
    ]  # fmt: skip
    assert "train_baselines" in ran
    assert ran[-1] == "evaluate"
    found = params(listed(copied)["tiny"])
    assert (found["fusion"], found["head"]["hidden_dims"]) == ("film", [4, 4])
    assert (found["stage1"]["epochs"], found["stage2"]["epochs"]) == (1, 2)


def test_the_queue_runs_a_choice_of_fusions_with_two_workers(queue: Project) -> None:
    # Short runs, and no ablation: the queue is what is tested.
    queue.dvc(
        "exp", "run", "--queue", "--set-param", "fusion=gated,film",
        "--set-param", "stage1.lr_head=0.001",
        "--set-param", "stage1.epochs=1", "--set-param", "stage2.epochs=1", "evaluate",
    )  # fmt: skip
    assert "Started '2' new experiments task queue workers" in queue.dvc(
        "queue", "start", "--jobs", "2"
    )
    end = time.monotonic() + LIMIT
    while re.search("Queued|Running", status := queue.dvc("queue", "status")):
        assert time.monotonic() < end, status
        time.sleep(1)
    assert status.count("Success") == 2, status
    found = listed(queue)
    combinations = {
        (params(each)["fusion"], params(each)["stage1"]["lr_head"]) for each in found.values()
    }
    assert combinations == {("gated", 0.001), ("film", 0.001)}
    for name, each in found.items():
        assert each["metrics"][EVALUATE]["data"] == metrics(queue, name)
    assert queue.git("status", "--porcelain") == ""


def test_data_that_git_ignores_reaches_the_queue_once_dvc_tracks_it(copied: Project) -> None:
    shutil.move(copied.folder / "raw", copied.folder / "data" / "mine")
    copied.set({"data.root": "data/mine"})
    copied.dvc("repro", "split")
    copied.commit("my data")
    assert copied.git("ls-files", "data") == "data/.gitignore\n"

    other_split = ("exp", "run", "--temp", "--set-param", "split.seed=7")
    failed = copied.attempt("dvc", *other_split, "split")
    assert failed.returncode != 0
    assert re.search(r"failed to reproduce 'split': .*No such file.*/data/mine'", failed.stdout)
    assert stages_run(copied.dvc(*other_split, "--copy-paths", "data/mine", "split")) == ["split"]

    copied.dvc("add", "data/mine")
    copied.git("add", "data/mine.dvc")
    copied.commit("track my data")
    assert copied.git("status", "--porcelain") == ""
    other_split = (*other_split[:-1], "split.seed=8")
    assert stages_run(copied.dvc(*other_split, "split")) == ["split"]
