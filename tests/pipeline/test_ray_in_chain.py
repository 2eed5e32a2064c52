"""`backbone.engine: ray` on this machine alone, as the stage starts it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pipeline.project import Project, environment

pytestmark = pytest.mark.cluster

pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")

# Of a cluster: its table, its node, and what encodes.
HEAVY = {"gcs_server", "raylet", "MapWorker"}
STAGE = (sys.executable, "-m", "stages.preprocess")


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """With nothing encoded."""
    copy = finished.copy(tmp_path / "p", without=(".git", ".dvc", ".sentifuse"))
    copy.set({"backbone.engine": "ray"})
    return copy


def features(project: Project) -> dict[str, bytes]:
    return {
        name: raw for name, raw in project.contents().items() if name.startswith("data/features/")
    }


def test_the_engine_changes_no_byte_of_the_features_and_says_nothing_else(
    finished: Project, project: Project
) -> None:
    shutil.rmtree(project.folder / "data" / "features")
    told = project.run(*STAGE)
    assert features(project) == features(finished)
    names = [line.split(":")[0] for line in told.splitlines() if line]
    assert list(dict.fromkeys(names)) == [
        "backbone.fingerprint",
        "image_clip",
        "text_clip",
        "encode images",
        "encode texts",
    ]


def test_a_stage_that_is_killed_takes_its_cluster_with_it(project: Project) -> None:
    stage = subprocess.Popen(
        STAGE,
        cwd=project.folder,
        env=environment(project.folder.parent),
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    names: set[str] = set()
    while names < HEAVY and stage.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        started = psutil.Process(stage.pid).children(recursive=True)
        names = {part for process in started for part in HEAVY if part in called(process)}
    assert names == HEAVY
    stage.kill()
    stage.wait()
    # Its agents, which compute nothing, look for it now and then only.
    while any(map(called, started)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [process for process in started if called(process)] == []


def called(process: psutil.Process) -> str:
    """What is running; nothing for one of Ray's agents and for what has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        name = process.name()
    except psutil.Error:
        return ""
    return "" if "Agent" in name else name
