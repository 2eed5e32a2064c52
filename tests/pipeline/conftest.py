import pytest
from filelock import FileLock

from tests.pipeline.project import Project, finish


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """A project on which `dvc repro` has run and been committed: not to be changed, but copied."""
    if worker_id == "master":
        return finish(tmp_path_factory.mktemp("chain"))
    # One run for all workers of pytest-xdist: the first builds it, the others wait.
    folder = tmp_path_factory.getbasetemp().parent / "chain"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            finish(folder)
            (folder / "done").touch()
    return Project(folder / "project")
