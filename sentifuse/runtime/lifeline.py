"""Processes that end when the one that started them does, however that ends.

A killed process does not take its children with it: the workers of a pool would wait for ever, and a
stage would go on writing while the next run is at work already.
"""

import multiprocessing
import os
import signal
import threading
import time

_SECONDS_BETWEEN_LOOKS = 0.2


def end_with_pool() -> None:
    """Ends this process, a worker, with the process whose pool it belongs to; elsewhere does nothing."""
    started_by = multiprocessing.parent_process()
    if started_by is not None and started_by.pid is not None:
        _end_with(started_by.pid)


def end_with_dvc() -> None:
    """Ends this process, a stage, with the DVC that runs it; does nothing in a stage run by hand.

    The shell that DVC starts a stage with has to replace itself by the stage, as sh, bash and zsh do.
    """
    if "DVC_STAGE" not in os.environ:
        return
    parent = os.getppid()
    # DVC and its stages are one process group; the process that takes in orphans is in another.
    _end_with(parent if _group(parent) == os.getpgrp() else None)


def _end_with(parent: int | None) -> None:
    """Kills this process as soon as `parent` is not its parent any more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGKILL)

    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=watch, daemon=True).start()


def _group(process: int) -> int | None:
    try:
        return os.getpgid(process)
    except (ProcessLookupError, PermissionError):
        return None
