"""Progress of long work, by tqdm: a bar on a terminal; in a log it is drawn every ten seconds only."""

import sys

from tqdm import tqdm

SECONDS_IN_A_LOG = 10.0


class Progress(tqdm):  # type: ignore[misc]
    """A bar that is closed at the end of its `with` block; what stays is one line with the overall rate."""

    def advance(self, count: int, note: str = "") -> None:
        """Counts `count` more units as done; `note` is shown behind the rate."""
        self.set_postfix_str(note, refresh=False)
        self.update(count)


def progress(what: str, total: int, unit: str) -> Progress:
    """A `Progress` on stderr, from 0 to `total`; `unit` is a plural, such as `images`."""
    seconds = 0.1 if sys.stderr.isatty() else SECONDS_IN_A_LOG
    return Progress(
        total=total,
        desc=what,
        unit=f" {unit}",
        mininterval=seconds,
        maxinterval=2 * seconds,
        miniters=1,
    )
