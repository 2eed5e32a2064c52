"""Children of a killed process end, too."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from sentifuse.runtime import lifeline
from tests.places import ROOT

# A process that starts a child, prints its id and waits to be killed.
_PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from sentifuse.runtime import lifeline

def wait():
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: two workers share the pipe
    time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(2, mp_context=context, initializer=lifeline.end_with_pool)
    pool.submit(wait)
    pool.submit(wait)
    time.sleep(60)
"""
_STAGE = """
import os, sys, time
from sentifuse.runtime.process import run
run(lambda: (print(os.getpid(), flush=True), time.sleep(60)))
"""
_DVC = """
import subprocess, sys
subprocess.run(["/bin/bash", "-c", sys.argv[1] + " " + sys.argv[2]])
"""


def ended(process: int, within: float) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with open(f"/proc/{process}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.fixture
def script(tmp_path: "os.PathLike[str]") -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        path = os.path.join(tmp_path, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    return write


def test_workers_end_with_the_process_whose_pool_they_belong_to(
    script: Callable[[str, str], str],
) -> None:
    parent = start(script("parent.py", _PARENT))
    assert parent.stdout is not None
    workers = [int(parent.stdout.readline()) for _ in range(2)]
    assert not any(ended(worker, within=0.1) for worker in workers)
    parent.kill()
    parent.wait()
    assert all(ended(worker, within=5) for worker in workers)


@pytest.mark.parametrize("under_dvc", [True, False])
def test_a_stage_ends_with_dvc_but_one_run_by_hand_outlives_its_shell(
    under_dvc: bool, script: Callable[[str, str], str]
) -> None:
    environment = {"DVC_STAGE": "train_stage1"} if under_dvc else {}
    dvc = start(script("dvc.py", _DVC), sys.executable, script("stage.py", _STAGE), **environment)
    assert dvc.stdout is not None
    stage = int(dvc.stdout.readline())
    assert not ended(stage, within=0.1)
    dvc.kill()
    dvc.wait()
    try:
        assert ended(stage, within=5 if under_dvc else 0.5) == under_dvc
    finally:
        if not under_dvc:
            os.kill(stage, signal.SIGKILL)


def test_a_stage_whose_dvc_ended_before_it_could_look_ends_at_once(
    script: Callable[[str, str], str],
) -> None:
    # In a session of its own: its parent is not in its process group, as that of an orphan.
    done = subprocess.run(
        [sys.executable, script("stage.py", _STAGE)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DVC_STAGE": "train_stage1"},
        start_new_session=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_outside_a_pool_and_without_dvc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(lifeline, "_end_with", lambda parent: pytest.fail("ended"))
    lifeline.end_with_pool()
    lifeline.end_with_dvc()
