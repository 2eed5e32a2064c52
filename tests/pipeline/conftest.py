from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.pipeline.project import Project, finish


def _once(
    factory: pytest.TempPathFactory, worker: str, name: str, build: Callable[[Path], Project]
) -> Project:
    """What `build` makes in a folder, once for all workers of pytest-xdist: the others wait."""
    if worker == "master":
        return build(factory.mktemp(name))
    folder = factory.getbasetemp().parent / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            build(folder)
            (folder / "done").touch()
    return Project(folder / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project on which `dvc repro` has run and been committed: not to be changed, but copied."""
    return _once(tmp_path_factory, worker_id, "chain", finish)


@pytest.fixture(scope="session")
def experimented(
    finished: Project, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Project:
    """`finished` with an experiment, `gated`, that is not applied: not to be changed, but copied."""

    def build(folder: Path) -> Project:
        project = finished.copy(folder / "project")
        project.dvc("exp", "run", "--name", "gated", "--set-param", "fusion=gated")
        project.discard_changes()
        return project

    return _once(tmp_path_factory, worker_id, "experimented", build)


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """A copy to work on with DVC."""
    return finished.copy(tmp_path / "project")
