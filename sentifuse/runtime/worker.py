"""What a worker process of a pool or a cluster is set up like."""

import torch

from sentifuse.runtime import lifeline, process


def start() -> None:
    """Sets this process up: it ends with its pool, and has one thread, whatever its parent has."""
    lifeline.end_with_pool()
    torch.set_num_threads(1)
    process.set_up()
