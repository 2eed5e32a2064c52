"""The command `mend`: removes half-written locks of a killed DVC and damaged objects of its cache."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from sentifuse.errors import UserError


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(arguments: argparse.Namespace) -> None:
    """Prints what it removes.

    Raises:
        UserError: no DVC repository here.
    """
    from dvc.repo import Repo

    from sentifuse.experiments.mend import mend

    # DVC knows where its cache is: it may be shared.
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if told.returncode:
        raise UserError(f"dvc cache dir: {told.stderr.strip().splitlines()[-1]}")
    removed = mend(Path(), Path(told.stdout.strip()), Path(os.path.relpath(Repo.find_dvc_dir())))
    for path in removed:
        print(f"removed {path}")
    print("go on with `dvc repro`" if removed else "nothing to mend")
