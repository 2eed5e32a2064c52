"""The gradient of a batch whose shards are computed side by side, each by one thread.

This is data parallelism within one process: `benchmarks/results.md` has what it gains. Each matrix product
should have one thread, as in the stages: threads that share a product wait for each other hundreds of
times a step.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Self

import numpy as np
import torch
from torch import Tensor

from sentifuse.features.batches import Dataset, RowIndices, ViewChoice
from sentifuse.models.classifier import Classifier
from sentifuse.runtime import dropout
from sentifuse.training.losses import Criterion


class DataParallel:
    """Computes gradients; a context manager, which ends its threads."""

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
        self._parameters = list(model.parameters())
        self._pool = None if threads == 1 else ThreadPoolExecutor(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def backward(self, index: RowIndices, rng: np.random.Generator) -> float:
        """Sets `grad` of each parameter to the gradient of the batch's loss.

        Drawn views and dropout of a shard come from seeds that `rng` gives, so that neither the order in
        which threads run nor the number of cores changes a bit. The number of shards does.

        Args:
            index: (B,) positions in the data set, B > 0.
            rng: the source of all chance.

        Returns:
            The loss.
        """
        shards = self._data.shards(index, self._threads, self._model.needs)
        seeds = [rng.integers(2**63, size=2) for _ in shards]
        each = map if self._pool is None else self._pool.map
        losses, gradients = zip(
            *each(self._shard, shards, self._shares(shards), seeds), strict=True
        )
        for parameter, *parts in zip(self._parameters, *gradients, strict=True):
            parameter.grad = _sum(parts)
        return float(sum(losses))

    def _shares(self, shards: Sequence[RowIndices]) -> list[float | Tensor]:
        """The weight of each shard's mean loss in that of the batch."""
        if len(shards) == 1:
            return [1.0]
        weights = [self._criterion.total_weight(self._data.targets[shard]) for shard in shards]
        total = torch.stack(weights).sum()
        return [weight / total for weight in weights]

    def _shard(
        self, index: RowIndices, share: float | Tensor, seeds: RowIndices
    ) -> tuple[float, Sequence[Tensor | None]]:
        """The shard's part of the loss and of the gradient of each parameter."""
        views, masks = seeds.tolist()
        rng = np.random.default_rng(views)
        batch = self._data.batch(index, self._model.needs, self._views, rng)
        # No cache of weights in bfloat16: it is one for all threads, and each weight is used once.
        with (
            dropout.drawing_from(torch.Generator().manual_seed(masks)),
            torch.autocast("cpu", torch.bfloat16, self._half, cache_enabled=False),
        ):
            logits = self._model(batch)
        loss = self._criterion(logits.float(), self._data.targets[index]) * share
        return loss.item(), torch.autograd.grad(loss, self._parameters, allow_unused=True)


def _sum(parts: Iterable[Tensor | None]) -> Tensor | None:
    """The sum in the order of the shards; None where no shard has a gradient."""
    there = [part for part in parts if part is not None]
    return reduce(torch.add, there) if there else None
