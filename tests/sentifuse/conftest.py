import shutil
import sys
from pathlib import Path

import pytest

from tests import search
from tests.once import once


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Several times faster for matrices as small as these, the more so with xdist's processes."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def searched_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    made = once(tmp_path_factory, worker_id, "searched", search.make_repository)
    return Path(shutil.copytree(made, tmp_path_factory.mktemp("own") / "searched", symlinks=True))


@pytest.fixture
def searched(searched_once: Path, tmp_path: Path) -> Path:
    """A repository with four experiments, to change at will."""
    return Path(shutil.copytree(searched_once, tmp_path / "searched", symlinks=True))
