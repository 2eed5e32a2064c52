"""The gradient of a batch, its shards worked out side by side, each by a thread.

Data parallelism within one process: `benchmarks/results.md` has what it gains. It expects one thread for each
matrix product, as stages have it: threads that share a product wait for each other hundreds of times a step.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from sentifuse.features.batches import Dataset, RowIndices, ViewChoice
from sentifuse.models import dropout
from sentifuse.models.classifier import Classifier
from sentifuse.training.losses import Criterion


class DataParallel:
    """Works out gradients; a context manager, for its threads."""

    def __init__(
        self,
        model: Classifier,
        data: Dataset,
        criterion: Criterion,
        views: ViewChoice,
        *,
        precision: str,
        threads: int,
    ) -> None:
        """Starts the threads, if there is to be more than one.

        Args:
            model: on the CPU; no output depends on other samples of its batch.
            data: the training part.
            criterion: the loss.
            views: which views of an image a batch has.
            precision: of the forward pass, `fp32` or `bf16`.
            threads: how many shards a batch has at most.
        """
        self._model, self._data, self._criterion, self._views = model, data, criterion, views
        self._half, self._threads = precision == "bf16", threads
        self._needs = model.needs
        self._parameters = list(model.parameters())
        self._pool = None if threads == 1 else ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def backward(self, index: RowIndices, rng: np.random.Generator) -> float:
        """Sets `grad` of each parameter to the gradient of the batch's loss.

        Drawn views and dropout of a shard come from seeds that `rng` gives: which thread is first, and
        how many cores there are, changes no bit. How many shards there are does.

        Args:
            index: (B,) positions in the data set, B > 0.
            rng: the source of all chance.

        Returns:
            The loss.
        """
        shards = self._data.shards(index, self._threads, self._needs)
        seeds = [rng.integers(2**63, size=2) for _ in shards]
        each = map if self._pool is None else self._pool.map
        losses, gradients = zip(
            *each(self._shard, shards, self._shares(shards), seeds), strict=True
        )
        for parameter, *parts in zip(self._parameters, *gradients, strict=True):
            parameter.grad = _sum(parts)
        return float(sum(losses))

    def _shares(self, shards: Sequence[RowIndices]) -> list[float | Tensor]:
        """What the mean loss of each shard counts for in that of the batch."""
        if len(shards) == 1:
            return [1.0]
        weights = [self._criterion.total_weight(self._data.targets[shard]) for shard in shards]
        total = torch.stack(weights).sum()
        return [weight / total for weight in weights]

    def _shard(
        self, index: RowIndices, share: float | Tensor, seeds: RowIndices
    ) -> tuple[float, Sequence[Tensor | None]]:
        """The shard's part of the loss, and what it adds to the gradient of each parameter."""
        views, masks = seeds.tolist()
        batch = self._data.batch(index, self._needs, self._views, np.random.default_rng(views))
        # No cache of weights in bfloat16: it is one for all threads, and each weight is used once.
        with (
            dropout.drawing_from(torch.Generator().manual_seed(masks)),
            torch.autocast("cpu", torch.bfloat16, self._half, cache_enabled=False),
        ):
            logits = self._model(batch)
        loss = self._criterion(logits.float(), self._data.targets[index]) * share
        return loss.item(), torch.autograd.grad(loss, self._parameters, allow_unused=True)


def _sum(parts: Iterable[Tensor | None]) -> Tensor | None:
    """The sum of those that are there, in their order."""
    there = [part for part in parts if part is not None]
    return reduce(torch.add, there) if there else None
