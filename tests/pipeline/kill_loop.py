"""Kills `dvc repro` at random moments of a run from scratch, until a run survives; compares every byte.

    python -m tests.pipeline.kill_loop --kills 50 --seed 1           # on the tiny project
    python -m tests.pipeline.kill_loop --kills 50 --seed 1 --demo    # on the demo data, default params

What is hit by SIGKILL is drawn, too: the whole process group (as when a machine goes down), DVC alone,
the stage alone, or one of its worker processes (as when memory runs out). After each kill the others must
end by themselves. When `dvc repro` has come to its end, every output, `dvc.lock` and `git status` must be
those of an undisturbed run; then all begins anew, until there have been enough kills.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.pipeline.project import OUTPUTS, STAGES, Project, environment, finish, lay_out

# The demo data are not drawn here: the tiny project has its own.
CHAIN = tuple(stage for stage in STAGES if stage != "demo_data")
# A run is killed in the stage where the last one was killed, or at most so many further on: kills spread
# over the chain, and yet it comes to its end.
FURTHER = 2
TARGETS = {"group": 4, "dvc": 2, "stage": 3, "worker": 3}
SECONDS_TO_END = 10.0
# From scratch: without anything that a run leaves behind.
_LEFT = (".sentifuse", "dvc.lock", *OUTPUTS)


@dataclass(frozen=True)
class Plan:
    """Kill `target` so many seconds after `stage` has started."""

    stage: str
    seconds: float
    target: str


@dataclass
class Report:
    """What happened: kills by target and by the stage that ran, runs that came to their end."""

    targets: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    completions: int = 0
    mended_by_hand: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.targets.total()

    def __str__(self) -> str:
        return (
            f"{self.kills} kills ({_counts(self.targets)}; in {_counts(self.stages)}); "
            f"{self.completions} runs came to their end, every byte as undisturbed; "
            f"{len(self.mended_by_hand)} manual steps {self.mended_by_hand}"
        )


def torment(
    reference: Project, folder: Path, *, kills: int, seed: int, longest: float = 8.0
) -> Report:
    """Runs a copy of `reference` in `folder` from scratch, killing it `kills` times.

    Args:
        reference: has finished and is committed.
        folder: to work in, empty.
        kills: at least so many.
        seed: of moments and targets.
        longest: seconds that a run lives at most from the start of the stage that was drawn.

    Raises:
        AssertionError: a process lived on, DVC could not go on, or an output differs.
    """
    rng = random.Random(seed)
    report = Report()
    while report.kills < kills:
        project = _from_scratch(reference, folder / f"run{report.completions}")
        reached = 0
        finished = False
        while not finished:
            stage = CHAIN[min(reached + rng.randint(0, FURTHER), len(CHAIN) - 1)]
            [target] = rng.choices(list(TARGETS), list(TARGETS.values()))
            # When there have been enough kills, the last run is left alone.
            plan = Plan(stage, rng.uniform(0, longest), target) if report.kills < kills else None
            finished, hit = _attempt(project, plan, report)
            reached = max(reached, CHAIN.index(hit)) if hit in CHAIN else reached
        _compare(project, reference)
        report.completions += 1
        print(f"run {report.completions} came to its end: every byte as undisturbed", flush=True)
        shutil.rmtree(project.folder)
    return report


def _from_scratch(reference: Project, folder: Path) -> Project:
    project = reference.copy(folder / "project", without=_LEFT)
    for name in ("cache", "tmp"):
        shutil.rmtree(project.folder / ".dvc" / name, ignore_errors=True)
    # It is git's, in a folder of DVC's.
    (project.folder / "data").mkdir()
    shutil.copy(reference.folder / "data" / ".gitignore", project.folder / "data")
    return project


def _attempt(project: Project, plan: Plan | None, report: Report) -> tuple[bool, str]:
    """Runs `dvc repro` and kills as planned.

    Returns:
        Whether it came to its end, and the stage that ran when something was killed.
    """
    log = project.folder.parent / "log.txt"
    with log.open("wb") as out:
        dvc = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=project.folder,
            env=environment(project.folder.parent),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    hit = ""
    if plan is not None and _wait_for(dvc, plan):
        hit = _kill(dvc, plan.target, report)
    dvc.wait()
    if dvc.returncode == 0 or hit:
        # Killed in the last moment it may yet have come to its end.
        return dvc.returncode == 0, hit
    told = log.read_text(encoding="utf-8", errors="replace")
    mended = _mend(project)
    assert mended, f"dvc repro failed by itself (status {dvc.returncode}):\n{told}"
    report.mended_by_hand += mended
    return False, hit


def _wait_for(dvc: "subprocess.Popen[bytes]", plan: Plan) -> bool:
    """Waits for the moment to kill; False where DVC has ended before."""
    while dvc.poll() is None:
        if plan.stage == _running(_family(dvc)):
            try:
                dvc.wait(plan.seconds)
            except subprocess.TimeoutExpired:
                return True
        time.sleep(0.1)
    return False


def _kill(dvc: "subprocess.Popen[bytes]", target: str, report: Report) -> str:
    """Kills `target`, or the whole group where there is none; sees that all others end.

    Returns:
        The stage that ran.
    """
    family = _family(dvc)
    # A worker is a fork of its stage, with the same command line.
    stages = [each for each, command in family.items() if " -m stages." in command]
    workers = stages[1:]
    victims = {"dvc": list(family)[:1], "stage": stages[:1], "worker": workers[:1]}.get(target, [])
    stage = _running(family)
    try:
        if victims:
            victims[0].send_signal(signal.SIGKILL)
        else:
            target = "group"
            os.killpg(dvc.pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return ""
    report.targets[target] += 1
    report.stages[stage or "between stages"] += 1
    print(f"kill {report.kills}: {target} in {stage or 'between stages'}", flush=True)
    dvc.wait(60)
    others = [each for each in family if each.pid != dvc.pid]
    _, alive = psutil.wait_procs(others, timeout=SECONDS_TO_END)
    alive = [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    assert not alive, f"after a kill of {target} in {stage} these lived on: {alive}"
    return stage or "between stages"


def _family(dvc: "subprocess.Popen[bytes]") -> dict[psutil.Process, str]:
    """DVC and all that it has started, with their command lines."""
    found: dict[psutil.Process, str] = {}
    try:
        root = psutil.Process(dvc.pid)
        for process in [root, *root.children(recursive=True)]:
            found[process] = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        pass
    return found


def _running(family: Mapping[psutil.Process, str]) -> str:
    """The stage that runs, or an empty string."""
    names = [command.rpartition(" -m stages.") for command in family.values()]
    return next((name for _, found, name in names if found), "")


def _mend(project: Project) -> list[str]:
    """What a user does when DVC does not go on."""
    told = project.run(sys.executable, "-m", "sentifuse", "mend")
    return [line for line in told.splitlines() if line.startswith("removed ")]


def _compare(project: Project, reference: Project) -> None:
    found, expected = (
        {name: raw for name, raw in each.contents().items() if not name.endswith(".gitignore")}
        for each in (project, reference)
    )
    assert set(found) == set(expected), set(found) ^ set(expected)
    differing = [name for name in found if found[name] != expected[name]]
    assert not differing, differing
    assert project.git("status", "--porcelain") == ""
    assert list((project.folder / ".sentifuse" / "resume").rglob("state")) == []


def _finish_demo(folder: Path) -> Project:
    project = lay_out(folder)
    project.commit("code")
    project.dvc("repro")
    project.commit("results")
    return project


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--longest", type=float, default=8.0, help="seconds after the start of a stage"
    )
    parser.add_argument("--demo", action="store_true", help="run on the demo data as they are")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        reference = _finish_demo(Path(name)) if options.demo else finish(Path(name))
        print(f"undisturbed: {time.monotonic() - start:.0f} s", flush=True)
        report = torment(
            reference,
            Path(name) / "torment",
            kills=options.kills,
            seed=options.seed,
            longest=options.longest,
        )
    print(f"{report} in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
