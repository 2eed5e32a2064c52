"""Encodes on this machine: one process a core, one thread each.

Two processes of one thread beat one process of two, and one thread makes a row's bits independent of
the number of cores.
"""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import compress, islice
from pathlib import Path

import torch

from sentifuse import lifeline, memory, scratch
from sentifuse.backbones import registry
from sentifuse.backbones.interface import Backbone
from sentifuse.encoding import Item, Modality, Setting, encode_shard
from sentifuse.errors import UserError
from sentifuse.progress import progress
from sentifuse.store import Space

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
    count, size = int(lacking.sum()), SHARD_SIZE[modality]
    if not count:
        return
    shards = _shards(compress(items, lacking), size)
    workers = min(len(os.sched_getaffinity(0)), -(-count // size))
    with (
        progress(f"encode {modality}s", count, f"{modality}s") as shown,
        ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(name, revision),
        ) as pool,
    ):
        running: set[Future[int]] = set()
        try:
            while True:
                for shard in islice(shards, workers * _SHARDS_A_WORKER - len(running)):
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
            pool.shutdown(cancel_futures=True)


def _shards(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while shard := list(islice(items, size)):
        yield shard


def _start_worker(name: str, revision: str | None) -> None:
    global _backbone
    lifeline.end_with_pool()
    memory.keep_freed()
    torch.set_num_threads(1)
    _backbone = registry.load(name, revision)


def _work(setting: Setting, modality: Modality, items: Sequence[Item], folder: Path) -> int:
    assert _backbone is not None
    Space(folder.parent, folder.name).append(encode_shard(_backbone, setting, modality, items))
    return len(items)
