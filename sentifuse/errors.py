"""Errors that are the user's to mend: one line on stderr, exit status 1, no traceback."""

import errno
import io
import os
import select
import sys
from collections.abc import Callable, Sequence

from sentifuse.garbage import collect_rarely
from sentifuse.lifeline import end_with_dvc
from sentifuse.threads import wait_passively

_LISTED = 10

# What the machine refuses -> what to do.
_REMEDIES = {
    errno.ENOSPC: "free some space and run `dvc repro` again",
    errno.EDQUOT: "free some space and run `dvc repro` again",
    errno.EFBIG: "raise the limit (`ulimit -f`) and run `dvc repro` again",
    errno.EACCES: "give yourself the right to it and run `dvc repro` again",
    errno.EPERM: "give yourself the right to it and run `dvc repro` again",
    errno.EROFS: "make it writable and run `dvc repro` again",
    errno.EISDIR: "move the folder away and run `dvc repro` again",
    errno.ENOTDIR: "move the file away and run `dvc repro` again",
    errno.EIO: "check the disk and run `dvc repro` again",
}


class UserError(Exception):
    """A mistake in params, data or environment; the message says what is wrong and what to do."""


def listed(mistakes: Sequence[object]) -> str:
    """The first ten of them in one line, and how many more there are."""
    more = len(mistakes) - _LISTED
    return "; ".join(map(str, mistakes[:_LISTED])) + (f"; and {more} more" if more > 0 else "")


def run(main: Callable[[], None]) -> None:
    """Calls `main`; a `UserError`, or the machine's refusal to read or write a file, becomes one line on
    stderr and exit status 1. What the terminal cannot show is escaped, and a reader of stdout that has left,
    such as `head`, is nothing to tell."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    end_with_dvc()
    collect_rarely()
    wait_passively()
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
        sys.exit(f"error: {where}: {error.strerror}: {_REMEDIES[error.errno]}")
    finally:
        _flush()


def _reader_left() -> bool:
    """Whether nobody reads stdout any more: then a broken pipe is nothing to tell, else it is a worker's."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError):  # Windows; a stdout that is no file
        return False
    return bool(poll.poll(0))


def _flush() -> None:
    """Writes out what is left of stdout; what cannot go out goes nowhere, or Python would tell it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
