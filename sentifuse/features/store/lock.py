"""The store's lock: runs share it, and whoever deletes rows has the store alone.

The kernel releases a lock when its process ends, however it ends. Runs need no lock against each other: see
`space`. Where files cannot be locked (Windows, some network file systems), a run goes on without a lock; if
rows vanish meanwhile, it encodes them again.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sentifuse.errors import UserError

FILE = ".lock"


@contextmanager
def shared(root: Path) -> Iterator[None]:
    """Held by a run as long as it uses the store at `root`; waits for a process that has it alone."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = None
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / FILE, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_SH)
    except OSError:
        pass  # the store is read-only, or its file system has no locks
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Held while rows of the store at `root`, which exists, are deleted.

    Raises:
        UserError: a run uses the store.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(root / FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{root}: a run is using the store: prune it when that has ended"
            ) from None
        yield
    finally:
        os.close(handle)
