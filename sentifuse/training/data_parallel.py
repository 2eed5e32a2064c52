"""The gradient of a batch whose shards are computed side by side, each by one thread of the processor.

This is data parallelism within one process: `benchmarks/results.md` has what it gains. Each matrix product
should have one thread, as in the stages: threads that share a product wait for each other hundreds of
times a step.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from sentifuse.features.batches import Dataset, RowIndices, ViewChoice
from sentifuse.training.step import Step


class DataParallel:
    """Computes gradients on the processor."""

    def __init__(self, step: Step, data: Dataset, views: ViewChoice, threads: int) -> None:
        """Remembers what to differentiate.

        Args:
            step: on the CPU; no output of its model depends on other samples of the batch.
            data: the training part.
            views: which views of an image a batch has.
            threads: how many shards a batch has at most.
        """
        self._step, self._data, self._views, self._threads = step, data, views, threads

    def each(
        self, batches: Iterable[RowIndices], rng: np.random.Generator
    ) -> Iterator[tuple[RowIndices, float]]:
        """Sets `grad` of each parameter to the gradient of the loss of one batch after the other.

        Drawn views and dropout of a shard come from seeds that `rng` gives, so that neither the order in
        which threads run nor the number of cores changes a bit. The number of shards does.

        Args:
            batches: of each, (B,) positions in the data set, B > 0.
            rng: the source of all chance.

        Yields:
            Each batch, and its loss.
        """
        if self._threads == 1:
            for index in batches:
                yield index, self._backward(index, rng, None)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            for index in batches:
                yield index, self._backward(index, rng, pool)

    def _backward(
        self, index: RowIndices, rng: np.random.Generator, pool: ThreadPoolExecutor | None
    ) -> float:
        shards = self._data.shards(index, self._threads, self._step.needs)
        seeds = [rng.integers(2**63, size=2) for _ in shards]
        each = map if pool is None else pool.map
        losses, gradients = zip(
            *each(self._shard, shards, self._shares(shards), seeds), strict=True
        )
        for parameter, *parts in zip(self._step.parameters, *gradients, strict=True):
            parameter.grad = _sum(parts)
        return float(sum(losses))

    def _shares(self, shards: Sequence[RowIndices]) -> list[float | Tensor]:
        """The weight of each shard's mean loss in that of the batch."""
        if len(shards) == 1:
            return [1.0]
        criterion, data = self._step.criterion, self._data
        weights = [
            criterion.total_weight(data.targets[shard], data.weights_of(shard)) for shard in shards
        ]
        total = torch.stack(weights).sum()
        return [weight / total for weight in weights]

    def _shard(
        self, index: RowIndices, share: float | Tensor, seeds: RowIndices
    ) -> tuple[float, Sequence[Tensor | None]]:
        """The shard's part of the loss and of the gradient of each parameter."""
        views, masks = seeds.tolist()
        rng = np.random.default_rng(views)
        data = self._data
        batch = data.batch(index, self._step.needs, self._views, rng)
        return self._step(batch, data.targets[index], data.weights_of(index), masks, share)


def _sum(parts: Iterable[Tensor | None]) -> Tensor | None:
    """The sum in the order of the shards; None where no shard has a gradient."""
    there = [part for part in parts if part is not None]
    return reduce(torch.add, there) if there else None
