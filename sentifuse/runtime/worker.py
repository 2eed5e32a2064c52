"""What a worker process of a pool or a cluster is set up like."""

import sys

import torch

from sentifuse.runtime import lifeline, process

# How a pool that trains starts its processes. A fork need not import torch again, and ends at once. Elsewhere
# than on Linux it is not safe.
START = "fork" if sys.platform == "linux" else "spawn"


def start() -> None:
    """Sets this process up: it ends with its pool, and has one thread, whatever its parent has."""
    lifeline.end_with_pool()
    torch.set_num_threads(1)
    process.set_up()
