"""Does the demo pipeline give the committed bytes on this machine?

    python -m tools.portable    # some two minutes on two cores; exit status 1 if git shows changes afterwards

Runs all of it in a fresh clone of the last commit, with the Python that runs this, and nothing cached.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.closure import ROOT


def main() -> int:
    """Clones, runs, compares; gives the exit status."""
    with tempfile.TemporaryDirectory(prefix="portable-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        changed = changes(clone, Path(folder) / "site")
    if changed:
        print("not the committed bytes:", *changed, sep="\n  ", file=sys.stderr)
        return 1
    print("the demo pipeline gives the committed bytes here")
    return 0


def changes(clone: Path, site: Path) -> list[str]:
    """Runs the pipeline in `clone`, with DVC's own cache in `site`; gives what git then shows as changed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "DVC_SITE_CACHE_DIR": str(site)}
    subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=clone, env=environment, check=True)
    status = ["git", "status", "--porcelain"]
    done = subprocess.run(status, cwd=clone, check=True, capture_output=True, encoding="utf-8")
    return done.stdout.splitlines()


if __name__ == "__main__":
    sys.exit(main())
