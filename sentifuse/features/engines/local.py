"""Encodes on this machine, with one process per core, each with one thread.

Two processes of one thread are faster than one process of two, and with one thread a row's bits do not
depend on the number of cores. On a machine with GPUs, too, each process reads, decodes and prepares its
files, and has an encoder of its own on one of the GPUs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import compress, islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from sentifuse.config.backbone import Modality, Precision
from sentifuse.encoders import ocr, registry
from sentifuse.errors import UserError
from sentifuse.features.encoding import Item, Setting, encode_shard
from sentifuse.features.reading import AnyRecord, ReaderRecord, read_shard
from sentifuse.features.store.space import EncodedRow, Space
from sentifuse.runtime import devices, precision, scratch, threads, worker
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.progress import progress

# Does a shard: key -> row.
Work = Callable[[Sequence[Item]], dict[str, EncodedRow]]
# Samples per shard: a killed run loses at most one shard per process.
SHARD_SIZE = {"image": 128, "text": 1024}
# Shards per worker that are at work or wait for it: all shards at once would hold all items.
_SHARDS_A_WORKER = 3
# Half-written shards of killed runs; a living run is done with its own in seconds.
_DAYS_KEPT = 1.0

# In a worker process: what it encodes with.
_worker: Work | None = None


def encode(record: AnyRecord, setting: Setting, items: Iterable[Item], space: Space) -> None:
    """Encodes those of `items` that `space` lacks, and appends them shard by shard.

    Args:
        record: the encoder, and what of its output is kept; or what reads the text in pictures.
        setting: how it is applied.
        items: gone through twice, and never held; one without a key is passed over.
        space: where the rows go.

    Raises:
        UserError: a file cannot be encoded, or a worker was killed.
    """
    count, missing = lacking(items, space)
    if count:
        with start(record, setting, min(threads.cores(), count)) as pool:
            run(pool, record, missing, count, space)


def place(wanted: Precision, numerics: Numerics, device: Device) -> tuple[str, str]:
    """Where this machine encodes, `cpu` or `cuda`, and what the precision `wanted` means there.

    Raises:
        UserError: `device` asks for a GPU that is not there.
    """
    chosen = devices.choose(device, numerics)
    return chosen, precision.resolve(wanted, chosen)


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


def start(record: AnyRecord, setting: Setting, workers: int) -> ProcessPoolExecutor:
    """Starts processes, on GPUs maybe fewer than `workers`, which load the encoder each."""
    context, free, count = worker.places(setting.device, workers)
    return ProcessPoolExecutor(
        count,
        mp_context=context,
        initializer=_start_worker,
        initargs=(record, setting, free),
    )


def run(
    pool: ProcessPoolExecutor,
    record: AnyRecord,
    items: Iterable[Item],
    count: int,
    space: Space,
) -> None:
    """Encodes `count` items, none of which `space` has, in the processes of `pool`; see `encode`."""
    cores = threads.cores()
    waiting = shards(items, record.modality, count, cores)
    running: set[Future[int]] = set()

    def fill() -> None:
        for shard in islice(waiting, cores * _SHARDS_A_WORKER - len(running)):
            running.add(pool.submit(_work, shard, space.folder))

    # The first `submit` starts the processes: before there is a thread that draws the progress.
    fill()
    with progress(record.task, count, f"{record.modality}s") as shown:
        try:
            while running:
                done = wait(running, return_when=FIRST_COMPLETED).done
                running -= done
                for future in done:
                    shown.advance(future.result())
                fill()
        except BrokenProcessPool:
            raise UserError(
                f"{record.task}: a worker was killed (out of memory?); what is done is kept: "
                "run `dvc repro` again"
            ) from None
        finally:
            for future in running:
                future.cancel()


def _start_worker(record: AnyRecord, setting: Setting, free: "SimpleQueue[str]") -> None:
    global _worker
    worker.start()
    device = free.get()
    devices.prepare(device)
    _worker, _ = load(record, setting, device)


def load(record: AnyRecord, setting: Setting, device: str) -> tuple[Work, str]:
    """Loads what `record` names, and gives what does a shard with it, and its fingerprint."""
    if isinstance(record, ReaderRecord):
        reader = ocr.load()
        return partial(read_shard, reader), reader.fingerprint
    encoder = registry.load(record.name, record.modality, record.precision, device)
    return partial(encode_shard, encoder, record, setting), encoder.fingerprint


def _work(items: Sequence[Item], folder: Path) -> int:
    assert _worker is not None
    Space(folder.parent, folder.name).append(_worker(items))
    return len(items)
