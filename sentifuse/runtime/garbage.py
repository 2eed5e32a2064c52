"""Python's garbage collector in processes that live for seconds.

Importing torch makes a million objects that live as long as the process. By default the collector looks
through them again and again while they pile up, and once more when the process ends: a second of a training
stage, in which it finds nothing.
"""

import atexit
import gc

_OBJECTS = 50_000  # by default 700


def collect_rarely() -> None:
    """Lets the collector start after so many new objects, and not at the end of the process."""
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)
