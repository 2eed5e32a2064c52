"""`.sentifuse/`: what a run leaves for later runs. DVC does not track it; deleting it costs time only.

Under `dvc exp run --temp` and in DVC's queue the working folder is a throw-away copy; DVC names the main
repository in `DVC_ROOT`, so that all runs share one folder.
"""

import os
import shutil
import time
from pathlib import Path


def folder(name: str) -> Path:
    """The folder `name` in it, which need not exist."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".sentifuse" / name


def prune(pattern: str, where: Path, days: float) -> None:
    """Deletes the files and folders in `where` that match `pattern` and were changed long ago.

    What another run is writing is younger than `days`; what a killed run left gets older.
    """
    oldest = time.time() - days * 24 * 3600
    for path in where.glob(pattern):
        try:
            if path.stat().st_mtime >= oldest:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue  # another run was faster, or may do it
