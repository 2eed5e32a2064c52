"""What a worker process of a pool or a cluster is set up like."""

import multiprocessing
import sys
from multiprocessing.context import BaseContext
from multiprocessing.queues import SimpleQueue

import torch

from sentifuse.runtime import devices, lifeline, process

# How a pool starts its processes. A fork need not import torch and transformers again, and ends at once.
# Elsewhere than on Linux it is not safe, and CUDA does not survive it.
_START = "fork" if sys.platform == "linux" else "spawn"


def places(device: str, most: int) -> tuple[BaseContext, "SimpleQueue[str]", int]:
    """What a pool that computes on `device` is made with.

    Returns:
        The context of its processes, a device for each of them to take (`start_on`), and their number, which
        on GPUs may be less than `most`.

    Raises:
        UserError: no GPU has room for one.
    """
    context = multiprocessing.get_context(_START if device == "cpu" else "spawn")
    found, free = devices.of_workers(device, most), context.SimpleQueue()
    for place in found:
        free.put(place)
    return context, free, len(found)


def start_on(free: "SimpleQueue[str]") -> None:
    """As `start`, and this process computes on the next device that is `free`."""
    start()
    devices.prepare(free.get())


def start() -> None:
    """Sets this process up: it ends with its pool, and has one thread, whatever its parent has."""
    lifeline.end_with_pool()
    torch.set_num_threads(1)
    process.set_up()
