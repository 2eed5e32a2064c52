"""How many threads of a process run at a time, and how they wait for each other."""

import os


def cores() -> int:
    """The cores that this process may use, >= 1; a container's or a `taskset`'s limit counts."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def wait_passively() -> None:
    """Lets threads that wait give their core away; to be called before torch is imported.

    By default OpenMP's threads spin. Two runs at a time, as in DVC's queue, would then spend most of
    their time keeping each other from work (measured: a step of two threads on two busy cores took
    1.7 s spinning, 0.17 s so). A choice of the user's in the environment stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
