"""Errors that are the user's to mend, and how several are told in one line."""

from collections.abc import Sequence

_LISTED = 10


class UserError(Exception):
    """A mistake in params, data or environment; the message says what is wrong and what to do."""


def listed(mistakes: Sequence[object]) -> str:
    """The first ten of them in one line, and how many more there are."""
    more = len(mistakes) - _LISTED
    return "; ".join(map(str, mistakes[:_LISTED])) + (f"; and {more} more" if more > 0 else "")
