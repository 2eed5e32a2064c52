"""Errors that are the user's to mend: one line on stderr, exit status 1, no traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake in params, data or environment; the message says what is wrong and what to do."""


def run(main: Callable[[], None]) -> None:
    """Calls `main`; a `UserError` becomes one line on stderr and exit status 1."""
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
