"""Progress of long work: a bar on a terminal, a line now and then in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts work done; `advance` draws the bar or, in a log, prints a line every ten seconds."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self._start = self._last = time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=what, unit=f" {unit}", leave=False)

    def advance(self, count: int, note: str = "") -> None:
        """`count` more units are done; `note` is shown behind the rate."""
        self.done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(self._line(note), file=sys.stderr, flush=True)

    def _line(self, note: str) -> str:
        elapsed = time.monotonic() - self._start
        rate = self.done / elapsed
        left = (self.total - self.done) / rate if rate else float("inf")
        line = f"{self.what}: {self.done}/{self.total} {self.unit}, {rate:.1f}/s, {left:.0f} s left"
        return f"{line}, {note}" if note else line

    def close(self) -> None:
        """Ends the bar; prints one closing line with the overall rate."""
        if self._bar is not None:
            self._bar.close()
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self.done / elapsed
        print(
            f"{self.what}: {self.done} {self.unit} in {elapsed:.1f} s ({rate:.1f}/s)",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Progress]:
    """A `Progress` that is closed at the end of the block."""
    shown = Progress(what, total, unit)
    try:
        yield shown
    finally:
        shown.close()
