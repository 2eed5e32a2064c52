"""How much of a process runs at a time."""

import os


def cores() -> int:
    """The cores that this process may use, >= 1; a container's or a `taskset`'s limit counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows
