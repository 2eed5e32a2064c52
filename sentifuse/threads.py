"""How the threads of a process wait for each other."""

import os


def wait_passively() -> None:
    """Lets threads that wait give their core away; to be called before torch is imported.

    By default OpenMP's threads spin. Two runs at a time, as in DVC's queue, would then spend most of
    their time keeping each other from work (measured: a step of two threads on two busy cores took
    1.7 s spinning, 0.17 s so). A choice of the user's in the environment stands.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
