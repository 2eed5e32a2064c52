"""A project two folders deep in a Git repository, with a space and an accent in its path."""

import sys
from pathlib import Path

import pytest

from tests import search

_RUNS = """\
variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1
multimodal,1,1,80,10,0.5,0.25
multimodal,2,2,80,10,0.7,0.35
"""


@pytest.fixture(scope="module", params=["dvc init --subdir", "dvc init at the top"])
def deep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with an experiment `gated`: not to be changed but in what Git can restore."""
    top = tmp_path_factory.mktemp("deep") / "dépôt mono"
    project = top / "sous dossier" / "mon projet"
    (project / "plots").mkdir(parents=True)
    (project / "plots" / "ablate_runs.csv").write_text(_RUNS, encoding="utf-8")
    search.make_commit(project, git=top, dvc=project if "--subdir" in request.param else top)
    search.make_experiment(project, "gated", "fusion=gated")
    return project


def sentifuse(project: Path, *arguments: str) -> str:
    return search.call(project, sys.executable, "-m", "sentifuse", *arguments)


@pytest.mark.parametrize("first", ["gated", "workspace"])
def test_revisions_are_compared(deep: Path, first: str) -> None:
    told = sentifuse(deep, "compare", first, "HEAD").splitlines()
    assert [line.split(" points")[0] for line in told] == [
        f"{score}, {first} - HEAD: +0.00" for score in ("accuracy", "macro_f1")
    ]


def test_of_several_the_p_values_are_corrected(deep: Path) -> None:
    *told, note = sentifuse(deep, "compare", "gated", "HEAD", "workspace").splitlines()
    assert [line.split(" points")[0] for line in told] == [
        f"{score}, gated - {other}: +0.00"
        for score in ("accuracy", "macro_f1")
        for other in ("HEAD", "workspace")
    ]
    assert all("p 1.000, Holm p 1.000), better on 0 of" in line for line in told)
    assert note == "Holm p: corrected for 2 comparisons; intervals are not"


def test_one_revision_under_two_names_is_not_compared(deep: Path) -> None:
    done = search.run(deep, sys.executable, "-m", "sentifuse", "compare", "HEAD", "main")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: main: the same revision as HEAD: name each one once\n"


def test_one_revision_alone_is_not_compared(deep: Path) -> None:
    done = search.run(deep, sys.executable, "-m", "sentifuse", "compare", "HEAD")
    assert done.returncode == 2
    assert "the following arguments are required: other" in done.stderr


def test_what_is_compared_is_the_revision_and_not_the_workspace(deep: Path) -> None:
    path = deep / "plots" / "ablate_runs.csv"
    path.write_text(_RUNS.replace("0.5", "0.6").replace("0.7", "0.8"), encoding="utf-8")
    try:
        assert sentifuse(deep, "compare", "workspace", "HEAD").startswith(
            "accuracy, workspace - HEAD: +10.00 points"
        )
    finally:
        path.write_text(_RUNS, encoding="utf-8")


@pytest.mark.parametrize("rev", ["HEAD~5", "no such revision"])
def test_a_revision_that_is_not_there_is_named(deep: Path, rev: str) -> None:
    done = search.run(deep, sys.executable, "-m", "sentifuse", "compare", rev, "HEAD")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {rev}: no plots/ablate_runs.csv in it (")
    assert done.stderr.count("\n") == 1


def test_experiments_are_ranked_and_stale_metrics_left_out(deep: Path) -> None:
    told = sentifuse(deep, "analyze")
    assert "gated" in told
    assert "stale" not in told
    params = deep / "params.yaml"
    before = params.read_text(encoding="utf-8")
    params.write_text(before.replace("fusion: concat", "fusion: film"), encoding="utf-8")
    try:
        assert "left out (1 stale)" in sentifuse(deep, "analyze")
    finally:
        params.write_text(before, encoding="utf-8")


def test_half_locks_are_mended(deep: Path) -> None:
    lock = deep / "dvc.lock"
    [dvc] = [each / ".dvc" for each in (deep, deep.parents[1]) if (each / ".dvc").is_dir()]
    before = lock.read_bytes()
    lock.write_bytes(before[:40])
    (dvc / "tmp").mkdir(exist_ok=True)
    (dvc / "tmp" / "rwlock").write_text("{", encoding="utf-8")
    try:
        assert sentifuse(deep, "mend").count("removed ") == 2
    finally:
        lock.write_bytes(before)
    assert sentifuse(deep, "mend") == "nothing to mend\n"


def test_pages_of_plots_runs_and_the_store_are_found(deep: Path, tmp_path: Path) -> None:
    assert "no network" in sentifuse(deep, "offline-plots")
    assert "nothing is stored yet" in sentifuse(deep, "store")
    search.call(deep, "dvc", "remote", "add", "--local", "--default", "here", str(tmp_path / "r"))
    assert sentifuse(deep, "push-runs") == "2 runs of a stage are in the remote\n"
