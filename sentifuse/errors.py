"""Errors that are the user's to mend: one line on stderr, exit status 1, no traceback."""

import sys
from collections.abc import Callable, Sequence

_LISTED = 10


class UserError(Exception):
    """A mistake in params, data or environment; the message says what is wrong and what to do."""


def listed(mistakes: Sequence[object]) -> str:
    """The first ten of them in one line, and how many more there are."""
    more = len(mistakes) - _LISTED
    return "; ".join(map(str, mistakes[:_LISTED])) + (f"; and {more} more" if more > 0 else "")


def run(main: Callable[[], None]) -> None:
    """Calls `main`; a `UserError` becomes one line on stderr and exit status 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
