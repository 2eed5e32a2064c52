"""Encodes on this machine: one process a core, one thread each.

Two processes of one thread beat one process of two, and one thread makes a row's bits independent of
the number of cores. On a machine with GPUs it is the same: each process reads, decodes and prepares as
without, and has an encoder of its own on one of them.
"""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import compress, islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features.encoding import Item, Modality, Setting, encode_shard
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices, precision, scratch, threads, worker
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision
from sentifuse.runtime.progress import progress

# Samples a shard: what a killed run loses at most per process.
SHARD_SIZE = {"image": 128, "text": 1024}
# Shards a worker that wait for it or are at work: all at once would hold the items of all.
_SHARDS_A_WORKER = 3
# Half-written shards of killed runs; a living one is done with its own in seconds.
_DAYS_KEPT = 1.0

_backbone: Backbone | None = None


def encode(
    name: str,
    revision: str | None,
    setting: Setting,
    modality: Modality,
    items: Iterable[Item],
    space: Space,
) -> None:
    """Encodes those of `items` that `space` lacks, and appends them shard by shard.

    Args:
        name: of the backbone, as in `registry.load`.
        revision: of the backbone.
        setting: what a row holds.
        modality: what the items are.
        items: gone through several times, and never held; one without a key is passed over.
        space: where the rows go.

    Raises:
        UserError: a file cannot be encoded, or a worker was killed.
    """
    scratch.prune(".*.part", space.folder, _DAYS_KEPT)
    lacking = space.lacking(item.key for item in items)
    count = int(lacking.sum())
    if not count:
        return
    cores = threads.cores()
    with start(name, revision, setting, min(cores, count)) as pool:
        run(pool, setting, modality, compress(items, lacking), count, space)


def place(wanted: Precision, name: str, numerics: Numerics) -> tuple[str, str]:
    """The device of this machine, and what the precision `wanted` of the backbone `name` means on it.

    What is to be the same bytes everywhere is encoded on the processor, also where there is a GPU.
    """
    device = "cpu" if numerics == "portable" else devices.kind()
    return device, precision.of_backbone(wanted, name, device)


def shard_size(modality: Modality, count: int, workers: int) -> int:
    """Samples a shard, of `count` to encode: a few, too, keep all workers busy."""
    return min(SHARD_SIZE[modality], -(-count // workers))


def start(name: str, revision: str | None, setting: Setting, workers: int) -> ProcessPoolExecutor:
    """Starts processes, on GPUs maybe fewer than `workers`, that load the backbone each."""
    places = devices.of_workers(setting.device, workers)
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for place in places:
        free.put(place)
    return ProcessPoolExecutor(
        len(places),
        mp_context=context,
        initializer=_start_worker,
        initargs=(name, revision, setting.precision, free),
    )


def run(
    pool: ProcessPoolExecutor,
    setting: Setting,
    modality: Modality,
    items: Iterable[Item],
    count: int,
    space: Space,
) -> None:
    """Encodes `count` items, none of which `space` has, in the processes of `pool`; see `encode`."""
    cores = threads.cores()
    waiting = shards(items, shard_size(modality, count, cores))
    running: set[Future[int]] = set()
    with progress(f"encode {modality}s", count, f"{modality}s") as shown:
        try:
            while True:
                for shard in islice(waiting, cores * _SHARDS_A_WORKER - len(running)):
                    running.add(pool.submit(_work, setting, modality, shard, space.folder))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    shown.advance(future.result())
        except BrokenProcessPool:
            raise UserError(
                f"encode {modality}s: a worker was killed (out of memory?); what is done is kept: "
                "run `dvc repro` again"
            ) from None
        finally:
            for future in running:
                future.cancel()


def shards(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items`, `size` at a time; the last ones may be fewer."""
    left = iter(items)
    while shard := list(islice(left, size)):
        yield shard


def _start_worker(
    name: str, revision: str | None, computes_in: str, free: "SimpleQueue[str]"
) -> None:
    global _backbone
    worker.start()
    device = free.get()
    devices.prepare(device)
    _backbone = registry.load(name, revision, computes_in, device)


def _work(setting: Setting, modality: Modality, items: Sequence[Item], folder: Path) -> int:
    assert _backbone is not None
    Space(folder.parent, folder.name).append(encode_shard(_backbone, setting, modality, items))
    return len(items)
