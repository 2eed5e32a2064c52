from pathlib import Path

import pytest

from tests.once import once
from tests.pipeline.project import Project, finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project on which `dvc repro` has run and been committed: not to be changed, but copied."""
    return Project(once(tmp_path_factory, worker_id, "chain", finish) / "project")


@pytest.fixture(scope="session")
def experimented(
    finished: Project, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Project:
    """`finished` with an experiment, `gated`, that is not applied: not to be changed, but copied."""

    def build(folder: Path) -> None:
        project = finished.copy(folder / "project")
        project.dvc("exp", "run", "--name", "gated", "--set-param", "fusion=gated")
        project.discard_changes()

    return Project(once(tmp_path_factory, worker_id, "experimented", build) / "project")


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """A copy to work on with DVC."""
    return finished.copy(tmp_path / "project")
