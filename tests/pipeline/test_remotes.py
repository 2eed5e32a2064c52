"""Results shared through a folder, S3 and SSH: the commands of `docs/remotes.md`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.pipeline import servers
from tests.pipeline.project import STAGES, Project, stages_restored, stages_run

pytestmark = pytest.mark.servers

TRAINED = {
    "train_stage1", "train_stage2", "evaluate", "package", "explain", "ablate", "cross_validate", "report",
    "infer",
}  # fmt: skip
Kind = Callable[[Path], AbstractContextManager[servers.Remote]]
# All of them, and these again for the experiment.
RUNS = len(STAGES) + len(TRAINED)


def kinds(*plain: Kind) -> pytest.MarkDecorator:
    """The kinds of remote; a plain run takes those named: only how files travel differs."""
    each = [
        pytest.param(kind, id=kind.__name__, marks=[] if kind in plain else [pytest.mark.long])
        for kind in (servers.folder, servers.s3, servers.ssh)
    ]
    return pytest.mark.parametrize("remote", each, indirect=True)


@pytest.fixture
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[servers.Remote]:
    scratch = tmp_path / "server"
    scratch.mkdir()
    with request.param(scratch) as found:
        yield found


@pytest.fixture
def sender(experimented: Project, tmp_path: Path) -> Project:
    """A copy with an experiment and an `origin` to push to."""
    project = experimented.copy(tmp_path / "sender")
    project.git("clone", "--quiet", "--bare", ".", str(tmp_path / "hub.git"))
    project.git("remote", "add", "origin", str(tmp_path / "hub.git"))
    return project


@pytest.fixture
def receiver(sender: Project, tmp_path: Path) -> Project:
    """A fresh clone of the same `origin`."""
    return Project(tmp_path / "hub.git").clone(tmp_path / "receiver")


def add(remote: servers.Remote, project: Project) -> None:
    project.dvc("remote", "add", "--local", "--default", "store", remote.url)
    for option, value in remote.options:
        project.dvc("remote", "modify", "--local", "store", option, value)


def state(project: Project) -> tuple[str, str]:
    """What has changed since the last commit, by git's and by DVC's account."""
    return project.git("status", "--porcelain"), project.dvc("status")


def outputs(project: Project) -> dict[str, bytes]:
    """Everything that the chain writes but the demo data."""
    return {k: v for k, v in project.contents().items() if not k.startswith("data/demo")}


@contextmanager
def applied(project: Project, experiment: str) -> Iterator[None]:
    project.dvc("exp", "apply", experiment)
    yield
    project.discard_changes()


@kinds(servers.ssh)
def test_a_fresh_clone_pulls_results_and_an_experiment(
    remote: servers.Remote, sender: Project, receiver: Project
) -> None:
    add(remote, sender)
    sender.dvc("push")
    sender.dvc("exp", "push", "origin", "gated")

    add(remote, receiver)
    assert not (receiver.folder / "models").exists()
    receiver.dvc("pull")
    assert outputs(receiver) == outputs(sender)
    assert stages_run(receiver.dvc("repro")) == []
    assert state(receiver) == ("", "Data and pipelines are up to date.\n")

    model = receiver.folder / "models" / "stage2" / "model.safetensors"
    default = model.read_bytes()
    receiver.dvc("exp", "pull", "origin", "gated")
    receiver.dvc("exp", "apply", "gated")
    assert model.read_bytes() != default
    assert "fusion: gated" in (receiver.folder / "params.yaml").read_text(encoding="utf-8")
    with applied(sender, "gated"):
        assert outputs(receiver) == outputs(sender)
    output = receiver.dvc("repro")
    assert stages_run(output) == stages_restored(output) == []


@kinds(servers.s3)
def test_a_fresh_clone_replays_another_run_without_training(
    remote: servers.Remote, sender: Project, receiver: Project
) -> None:
    add(remote, sender)
    sender.dvc("push")
    assert f"{RUNS} runs of a stage" in sender.sentifuse("push-runs")

    add(remote, receiver)
    receiver.dvc("pull", "--run-cache")
    receiver.set({"fusion": "gated"})
    output = receiver.dvc("repro", "--pull")
    assert stages_run(output) == []
    assert set(stages_restored(output)) == TRAINED
    with applied(sender, "gated"):
        assert outputs(receiver) == outputs(sender)


def test_without_a_remote_runs_are_not_pushed(copied: Project) -> None:
    done = copied.attempt(sys.executable, "-m", "sentifuse", "push-runs")
    assert done.returncode == 1
    [line] = done.stdout.splitlines()
    assert "push-runs: config file error: no remote specified" in line
    assert "dvc remote add" in line


def test_what_a_clean_up_left_is_pushed(sender: Project, tmp_path: Path) -> None:
    add(servers.Remote(str(tmp_path / "store")), sender)
    sender.dvc("gc", "--workspace", "--force")
    assert f"{RUNS} runs of a stage" in sender.sentifuse("push-runs")
    assert (tmp_path / "store" / "files").is_dir()


def test_clones_on_one_cache_share_runs_without_a_remote(
    sender: Project, receiver: Project
) -> None:
    receiver.dvc("cache", "dir", "--local", str(sender.folder / ".dvc" / "cache"))
    receiver.dvc("config", "--local", "cache.type", "hardlink,symlink,copy")
    receiver.dvc("checkout")
    assert outputs(receiver) == outputs(sender)
    model = Path("models/stage2/model.safetensors")
    assert (receiver.folder / model).stat().st_nlink > 1
    receiver.set({"fusion": "gated"})
    output = receiver.dvc("repro")
    assert stages_run(output) == []
    assert set(stages_restored(output)) == TRAINED
