import shutil
from pathlib import Path

import pytest

from tests.pipeline.project import Project
from tests.places import ROOT


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty working folder with the project's params."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Project(tmp_path)
