"""Encodes on this machine, with one process per core, each with one thread.

Two processes of one thread are faster than one process of two, and with one thread a row's bits do not
depend on the number of cores. On a machine with GPUs, too, each process reads, decodes and prepares its
files, and has an encoder of its own on one of the GPUs.
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
from sentifuse.features.encoding import Item, Modality, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices, precision, scratch, threads, worker
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision
from sentifuse.runtime.progress import progress

# Samples per shard: a killed run loses at most one shard per process.
SHARD_SIZE = {"image": 128, "text": 1024}
# Shards per worker that are at work or wait for it: all shards at once would hold all items.
_SHARDS_A_WORKER = 3
# Half-written shards of killed runs; a living run is done with its own in seconds.
_DAYS_KEPT = 1.0

# In a worker process: what it encodes with.
_encoder: tuple[Backbone, EncodingRecord] | None = None


def encode(record: EncodingRecord, modality: Modality, items: Iterable[Item], space: Space) -> None:
    """Encodes those of `items` that `space` lacks, and appends them shard by shard.

    Args:
        record: how rows are encoded, and by which backbone.
        modality: what the items are.
        items: gone through twice, and never held; one without a key is passed over.
        space: where the rows go.

    Raises:
        UserError: a file cannot be encoded, or a worker was killed.
    """
    count, missing = lacking(items, space)
    if count:
        with start(record, min(threads.cores(), count)) as pool:
            run(pool, modality, missing, count, space)


def place(wanted: Precision, name: str, numerics: Numerics) -> tuple[str, str]:
    """The device of this machine, and what the precision `wanted` of the backbone `name` means on it.

    What is to be the same bytes everywhere is encoded on the processor, also where there is a GPU.
    """
    device = "cpu" if numerics == "portable" else devices.kind()
    return device, precision.of_backbone(wanted, name, device)


def lacking(items: Iterable[Item], space: Space) -> tuple[int, Iterator[Item]]:
    """How many of `items` the space lacks, and these; deletes what killed runs left half-written."""
    scratch.prune(".*.part", space.folder, _DAYS_KEPT)
    chosen = space.lacking(item.key for item in items)
    return int(chosen.sum()), compress(items, chosen)


def shards(
    items: Iterable[Item], modality: Modality, count: int, workers: int
) -> Iterator[list[Item]]:
    """Cuts `count` items into shards; also a few items keep all workers busy."""
    size = min(SHARD_SIZE[modality], -(-count // workers))
    left = iter(items)
    while shard := list(islice(left, size)):
        yield shard


def start(record: EncodingRecord, workers: int) -> ProcessPoolExecutor:
    """Starts processes, on GPUs maybe fewer than `workers`, which load the backbone each."""
    places = devices.of_workers(record.setting.device, workers)
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for each in places:
        free.put(each)
    return ProcessPoolExecutor(
        len(places), mp_context=context, initializer=_start_worker, initargs=(record, free)
    )


def run(
    pool: ProcessPoolExecutor, modality: Modality, items: Iterable[Item], count: int, space: Space
) -> None:
    """Encodes `count` items, none of which `space` has, in the processes of `pool`; see `encode`."""
    cores = threads.cores()
    waiting = shards(items, modality, count, cores)
    running: set[Future[int]] = set()
    with progress(f"encode {modality}s", count, f"{modality}s") as shown:
        try:
            while True:
                for shard in islice(waiting, cores * _SHARDS_A_WORKER - len(running)):
                    running.add(pool.submit(_work, modality, shard, space.folder))
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


def _start_worker(record: EncodingRecord, free: "SimpleQueue[str]") -> None:
    global _encoder
    worker.start()
    device = free.get()
    devices.prepare(device)
    backbone = registry.load(record.backbone, record.revision, record.setting.precision, device)
    _encoder = backbone, record


def _work(modality: Modality, items: Sequence[Item], folder: Path) -> int:
    assert _encoder is not None
    backbone, record = _encoder
    rows = encode_shard(backbone, record.setting, modality, items)
    Space(folder.parent, folder.name).append(rows)
    return len(items)
