"""What takes long to make, made once for all processes of pytest-xdist."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(
    factory: pytest.TempPathFactory, worker: str, name: str, build: Callable[[Path], object]
) -> Path:
    """The folder `name` in which one process has called `build`, while the others waited."""
    if worker == "master":
        folder = factory.mktemp(name)
        build(folder)
        return folder
    folder = factory.getbasetemp().parent / name
    with FileLock(f"{folder}.lock"):
        done = folder.with_name(f"{name}.done")
        if not done.exists():
            folder.mkdir(exist_ok=True)
            build(folder)
            done.touch()
    return folder
