"""What a user waits for: the pipeline on the demo data, and a warm experiment, each beside its budget.

In a fresh clone of the last commit, with the environment at hand. The real data, which are not part
of the repository, are measured where they lie in `data/mvsa`.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measurement import Measurement

ROOT = Path(__file__).resolve().parents[1]
REAL = Path("data/mvsa")
STORE = Path(".sentifuse/store")
_REPRO, _GATED = ["repro"], ["exp", "run", "-S", "fusion=gated"]
# What is run -> the seconds that it may take on two idle cores with AVX2.
BUDGETS = {
    "demo: dvc repro, nothing cached": 180.0,
    "demo: dvc exp run -S fusion=gated, warm": 40.0,
    "data/mvsa: dvc exp run -S fusion=gated, warm": 90.0,
}


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Runs all of it; in its short form only DVC's own listing, in place of each run."""
    demo, warm, real = BUDGETS
    clone = work / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    found = [_timed(demo, clone, _REPRO, short), _timed(warm, clone, _GATED, short)]
    if not short and (ROOT / REAL).is_dir():
        shutil.copytree(ROOT / REAL, clone / REAL)
        # Only the warm run is timed: what has been encoded here need not be encoded again.
        if (ROOT / STORE).is_dir():
            shutil.copytree(ROOT / STORE, clone / STORE, dirs_exist_ok=True)
        on_real = ["-S", f"data.root={REAL}"]
        # By name: `-S` changes accumulate, and the run above has left another fusion in the workspace.
        _dvc(clone, ["exp", "run", *on_real, "-S", "fusion=concat"])
        found.append(_timed(real, clone, [*_GATED, *on_real], short))
    return found


def _timed(what: str, clone: Path, arguments: list[str], short: bool) -> Measurement:
    start = time.perf_counter()
    _dvc(clone, ["stage", "list"] if short else arguments)
    seconds, budget = time.perf_counter() - start, BUDGETS[what]
    return Measurement(
        part="pipeline",
        what=what,
        reference="the budget",
        ours=seconds,
        theirs=budget,
        unit="s",
        ratio=seconds / budget,
        target=1.0,
        better="less",
    )


def _dvc(clone: Path, arguments: list[str]) -> None:
    """Runs DVC as a user would: with the threads that stages choose for themselves."""
    identity = {"GIT_AUTHOR_NAME": "Benchmark", "GIT_AUTHOR_EMAIL": "benchmark@example.org"}
    identity |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in identity.items()}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=clone,
        env={
            **os.environ,
            **identity,
            "PATH": path,
            "DVC_SITE_CACHE_DIR": str(clone.parent / "site"),
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"dvc {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
