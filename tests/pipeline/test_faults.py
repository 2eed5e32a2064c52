"""Kills, full disks, read-only folders and damaged files: the next run ends as an undisturbed one.

The long form of these tests: `pytest -m long tests/pipeline/test_faults.py`, and for whole runs
`python -m tests.pipeline.kill_loop --kills 50`.
"""

import hashlib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sentifuse.evaluation import variants
from sentifuse.features.engines import local
from sentifuse.features.store import lock as store_lock
from sentifuse.runtime import process
from tests.pipeline import kill_loop
from tests.pipeline.project import STAGES, Project
from tests.pipeline.test_chain import stages_run
from tests.serial_pool import SerialPool

CHAIN = STAGES[1:]
OUTPUTS_OF = {
    "split": ("data/manifest.csv", "data/splits.csv", "data/folds.csv", "data/duplicates.csv",
        "data/bad_samples.csv", "data/modality_labels.csv", "metrics/data.json"),
    "preprocess": ("data/features", ".sentifuse/store"),
    "train_stage1": ("models/stage1", "plots/stage1.csv"),
    "train_stage2": ("models/stage2", "plots/stage2.csv"),
    "train_baselines": ("data/baselines",),
    "evaluate": ("data/evaluation", "metrics/evaluate.json", "plots/confusion.csv", "plots/confusion.png"),
    "package": ("models/bundle",),
    "explain": ("data/explanations.json",),
    "ablate": ("data/ablation", "metrics/ablate.json", "plots/ablate.csv", "plots/ablate_runs.csv",
        "plots/ablate.png"),
    "audit": ("data/label_audit.csv", "metrics/audit.json"),
    "cross_validate": ("data/cross_validation", "metrics/folds.json", "plots/folds.csv"),
    "report": ("reports",),
    "infer": ("data/predictions",),
}  # fmt: skip
# What changes a file: the events of `sys.addaudithook`.
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


@pytest.fixture
def plain(finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A copy to run stages in, in children of this process, in which everything is imported."""
    project = finished.copy(tmp_path / "project", without=(".git", ".dvc"))
    yield from prepared(project, monkeypatch)


def prepared(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    for name in ("DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    for module in (variants, local):
        monkeypatch.setattr(module, "ProcessPoolExecutor", SerialPool)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    yield project
    torch.set_num_threads(threads)


def in_child(project: Project, stage: str, before: Callable[[], None] = lambda: None) -> Any:
    """Runs a stage in a fork of this process: (exit status or minus the signal, what it told)."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            os._exit(_child(project, stage, before, told.fileno()))
        _, waited = os.waitpid(child, 0)
        told.seek(0)
        return os.waitstatus_to_exitcode(waited), told.read().decode()


def _child(project: Project, stage: str, before: Callable[[], None], output: int) -> int:
    try:
        os.chdir(project.folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        before()
        # Torch makes its pool of threads anew after a fork: before several threads ask for it at once.
        torch.set_num_threads(1)
        module = importlib.import_module(f"stages.{stage}")
        process.run_stage(module.main, module.Params)
    except SystemExit as stopped:
        os.write(2, f"{stopped.code}\n".encode())
        return 1
    except BaseException as error:
        os.write(2, f"Traceback: {error!r}\n".encode())
        return 2
    return 0


def run(project: Project, stage: str) -> None:
    status, told = in_child(project, stage)
    assert status == 0, told


def undo(project: Project, stage: str) -> None:
    """Removes what a stage writes, as DVC does before it runs one."""
    for name in OUTPUTS_OF[stage]:
        path = project.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def watch(project: Project, act: Callable[[int], None]) -> Callable[[], None]:
    """Calls `act` with 1, 2, ... before each change of a file of the project."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        if not (writes or event in _CHANGES) or not isinstance(arguments[0], (str, Path)):
            return
        if project.folder in Path(os.path.abspath(arguments[0])).parents:
            count += 1
            act(count)

    return lambda: sys.addaudithook(hook)


def changes(project: Project, stage: str) -> int:
    """How many changes of files a stage makes."""
    tally = project.folder.parent / "tally"
    tally.write_bytes(b"")
    output = os.open(tally, os.O_WRONLY | os.O_APPEND)
    status, told = in_child(
        project, stage, watch(project, lambda _: os.write(output, b".") and None)
    )
    os.close(output)
    assert status == 0, told
    return tally.stat().st_size


def check_kills(project: Project, stage: str, expected: dict[str, bytes], moments: int) -> None:
    undo(project, stage)
    count = changes(project, stage)
    assert project.contents() == expected
    assert count >= 2
    chosen = random.Random(stage).sample(range(1, count + 1), min(moments, count))
    for moment in chosen:
        undo(project, stage)

        def act(number: int, moment: int = moment) -> None:
            if number == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        status, _ = in_child(project, stage, watch(project, act))
        assert status == -signal.SIGKILL, moment
        # DVC removes the outputs; run by hand they stay. Both must do.
        if moment % 2:
            undo(project, stage)
        run(project, stage)
        found = project.contents()
        assert found.keys() == expected.keys(), (moment, count)
        assert [name for name in found if found[name] != expected[name]] == [], (moment, count)
    print(f"{stage}: killed before {len(chosen)} of {count} changes of files")


@pytest.mark.parametrize("stage", CHAIN)
def test_a_stage_that_is_killed_before_a_change_of_a_file_can_be_run_again(
    stage: str, finished: Project, plain: Project
) -> None:
    check_kills(plain, stage, finished.contents(), moments=2)


@pytest.mark.long
@pytest.mark.parametrize("stage", CHAIN)
def test_a_stage_that_is_killed_before_any_change_of_a_file_can_be_run_again(
    stage: str, finished: Project, plain: Project
) -> None:
    check_kills(plain, stage, finished.contents(), moments=10**6)


@pytest.fixture
def small_disk(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A copy on a file system of its own, with 30 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=30m", "tmpfs", str(disk))
    try:
        project = finished.copy(disk / "project", without=(".git", ".dvc"))
        yield from prepared(project, monkeypatch)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")


@pytest.mark.parametrize("stage", CHAIN)
def test_a_full_disk_is_one_line_and_room_mends_it(
    stage: str, finished: Project, small_disk: Project
) -> None:
    expected = finished.contents()
    filler = small_disk.folder / "filler"
    told_of = 0
    for room in (0, 4096, 20_000, 60_000):
        undo(small_disk, stage)
        free = shutil.disk_usage(small_disk.folder).free
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free - room, 1))
        status, told = in_child(small_disk, stage)
        filler.unlink()
        if status:
            told_of += 1
            [line] = [line for line in told.splitlines() if "error" in line or "Traceback" in line]
            assert status == 1, (room, status, told)
            assert line.startswith("error: "), line
            assert line.endswith(
                ": No space left on device: free some space and run `dvc repro` again"
            ), line
            assert Path(line.split(": ")[1]).parts[0] in (
                "data", "models", "metrics", "plots", "reports", ".sentifuse"
            ), line  # fmt: skip
        else:
            assert small_disk.contents() == expected
    assert told_of
    run(small_disk, stage)
    assert small_disk.contents() == expected


@pytest.mark.parametrize("stage", CHAIN)
def test_a_read_only_project_is_one_line(stage: str, plain: Project) -> None:
    undo(plain, stage)
    _mount("--bind", str(plain.folder), str(plain.folder))
    try:
        _mount("-o", "remount,bind,ro", str(plain.folder))
        status, told = in_child(plain, stage)
    finally:
        # Lazily: a helper process of multiprocessing may live a moment longer, in this folder.
        subprocess.run(["umount", "--lazy", str(plain.folder)], check=True)
    [line] = [line for line in told.splitlines() if "error" in line or "Traceback" in line]
    assert status == 1, told
    assert line.startswith("error: "), line
    assert line.endswith(": Read-only file system: make it writable and run `dvc repro` again")


@pytest.mark.parametrize("damage", ["flipped", pytest.param("cut", marks=pytest.mark.long)])
def test_damaged_outputs_are_made_anew(damage: str, finished: Project, tmp_path: Path) -> None:
    """Every output that DVC tracks at once, and with them the store."""
    project = finished.copy(tmp_path / "project")
    rng = random.Random(damage)
    paths = [
        path
        for name in ("data", "models", "reports", ".sentifuse/store")
        for path in sorted((project.folder / name).rglob("*"))
        if path.is_file() and path.name not in (".gitignore", "README.md", store_lock.FILE)
    ]
    assert len(paths) > 15
    for path in paths:
        raw = bytearray(path.read_bytes())
        if damage == "flipped":
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        else:
            raw = raw[: rng.randrange(len(raw))]
        path.write_bytes(raw)
    project.dvc("repro")
    assert project.contents() == finished.contents()
    # Without the run-cache the features come from the damaged store.
    shutil.rmtree(project.folder / ".dvc" / "cache")
    shutil.rmtree(project.folder / "data" / "features")
    assert "encoded again now" in project.dvc("repro", "preprocess") or damage == "cut"
    assert project.contents() == finished.contents()


def test_what_dvc_does_not_get_over_is_mended(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project")
    splits = project.folder / "data" / "splits.csv"
    name = hashlib.md5(splits.read_bytes()).hexdigest()
    stored = project.folder / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:]
    stored.chmod(0o644)
    stored.write_bytes(splits.read_bytes().replace(b"train", b"tra1n", 1))
    stored.chmod(0o444)
    splits.unlink()
    # DVC takes it for sound, here and in every run to come.
    project.dvc("checkout", "data/splits.csv")
    assert project.contents() != finished.contents()
    (project.folder / ".dvc" / "tmp" / "rwlock").write_bytes(b"")
    told = project.run(sys.executable, "-m", "sentifuse", "mend")
    assert told.count("removed ") == 2
    assert stages_run(project.dvc("repro")) == ["split"]
    assert project.contents() == finished.contents()
    (project.folder / "dvc.lock").write_bytes(b"")
    assert "removed dvc.lock" in project.run(sys.executable, "-m", "sentifuse", "mend")
    assert stages_run(project.dvc("repro")) == []
    assert project.contents() == finished.contents()
    assert "nothing to mend" in project.run(sys.executable, "-m", "sentifuse", "mend")


@pytest.mark.long
def test_a_run_that_is_killed_some_times_ends_as_if_it_had_not_been(
    finished: Project, tmp_path: Path
) -> None:
    report = kill_loop.torment(finished, tmp_path, kills=3, seed=11, longest=4.0)
    assert report.kills >= 3
    assert report.completions >= 1
