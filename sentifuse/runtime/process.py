"""What a process of the pipeline is set up like: called where one starts, never by the rest of the library.

A program that uses the library keeps its own threads, allocator and environment.
"""

import atexit
import ctypes
import errno
import gc
import io
import os
import select
import sys
import warnings
from collections.abc import Callable
from typing import Protocol, TypeVar

from sentifuse.errors import UserError
from sentifuse.runtime import lifeline, numerics
from sentifuse.runtime.numerics import Numerics

# What the machine refuses -> what to do before the next `dvc repro`.
_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit (`ulimit -f`)",
    errno.EACCES: "give yourself the right to it",
    errno.EPERM: "give yourself the right to it",
    errno.EROFS: "make it writable",
    errno.EISDIR: "move the folder away",
    errno.ENOTDIR: "move the file away",
    errno.EIO: "check the disk",
}

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8


class StageParams(Protocol):
    """What every stage's params have."""

    @property
    def numerics(self) -> Numerics: ...


P = TypeVar("P", bound=StageParams)


def run_stage(main: Callable[[P], None], kind: type[P]) -> None:
    """Runs the stage `main` with its params, which `params.load` reads from `params.yaml` as `kind`."""

    # Not for commands: pydantic and YAML are not installed where an export predicts.
    from sentifuse.config import params
    from sentifuse.runtime import pins

    def stage() -> None:
        checked = params.load(kind)
        numerics.hold(checked.numerics)
        try:
            main(checked)
        finally:
            pins.warn_if_other()

    run(stage)


def run(main: Callable[[], None]) -> None:
    """Runs a stage or a command; an error that the user can mend becomes one line and exit status 1.

    That is a `UserError`, or a file that the machine refuses to read or write. What the terminal cannot show
    is escaped. If the reader of stdout has left, as `head` does, the process ends without a message.
    """
    start()
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_left():
            sys.exit(1)
        if error.errno not in _REMEDIES:
            raise
        where = error.filename2 or error.filename or "a file"  # of a rename, where it leads
        remedy = f"{_REMEDIES[error.errno]} and run `dvc repro` again"
        sys.exit(f"error: {where}: {error.strerror}: {remedy}")
    finally:
        _flush()


def start() -> None:
    """Sets this process up, before it imports numpy or torch."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    lifeline.end_with_dvc()
    one_thread()
    # Importing torch makes a million objects that stay. By default the collector looks through them again and
    # again meanwhile, and once more at the end of the process: half a second, in which it finds nothing.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    set_up()


def set_up() -> None:
    """Does what stages and their workers have in common."""
    _keep_freed_memory()
    # Pillow warns of a large image where `images.open_image` refuses it.
    warnings.filterwarnings("ignore", message=r"Image size \(\d+ pixels\) exceeds limit")


def _keep_freed_memory() -> None:
    """Tells glibc's malloc to re-use freed memory; does nothing where libc is another.

    Large tensors come and go in every batch, and the kernel has to clear the pages of each one anew.
    Measured: CLIP ViT-B/32 encodes images 9 % faster with it in fp32, 4 % in bf16.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_ARENA_MAX, 1)  # the others, of further threads, do hand pages back
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def one_thread() -> None:
    """Lets each matrix product have one thread, whatever the number of cores: so no last digit depends on it.

    Work is shared out in larger pieces instead: batches over threads, shards and runs over processes.
    """
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def _reader_left() -> bool:
    """Whether nobody reads stdout any more; else a broken pipe is that of a worker."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):  # Windows; a stdout that is no file
        return False
    return bool(poll.poll(0))


def _flush() -> None:
    """Writes out what is left of stdout, and drops what cannot be written: Python would report it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
