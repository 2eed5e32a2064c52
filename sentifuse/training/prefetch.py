"""The gradient of a batch on a GPU, while a thread gathers the batch that comes next."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from torch import Tensor

from sentifuse.features.batches import Batch, Dataset, RowIndices, ViewChoice
from sentifuse.training.step import Step

T = TypeVar("T")


class Prefetch:
    """Computes gradients where the model is; on the CPU the same ones as `DataParallel` with one thread."""

    def __init__(self, step: Step, data: Dataset, views: ViewChoice) -> None:
        """Remembers what to differentiate: `step`, on any device, on `views` of the training part `data`."""
        self._step, self._data, self._views = step, data, views

    def each(
        self, batches: Iterable[RowIndices], rng: np.random.Generator
    ) -> Iterator[tuple[RowIndices, float]]:
        """Sets `grad` of each parameter to the gradient of the loss of one batch after the other.

        Args:
            batches: of each, (B,) positions in the data set, B > 0.
            rng: the source of all chance.

        Yields:
            Each batch, and its loss.
        """
        gathered = (self._gather(index, rng) for index in batches)
        for index, batch, targets, weights, masks in ahead(gathered):
            loss, gradients = self._step(batch, targets, weights, masks)
            for parameter, gradient in zip(self._step.parameters, gradients, strict=True):
                parameter.grad = gradient
            yield index, loss

    def _gather(
        self, index: RowIndices, rng: np.random.Generator
    ) -> tuple[RowIndices, Batch, Tensor, Tensor | None, int]:
        """A batch on the device, its targets and weights, and the seed of its dropout."""
        views, masks = rng.integers(2**63, size=2).tolist()
        drawing = np.random.default_rng(views)
        found = self._data.batch(index, self._step.needs, self._views, drawing)
        device = self._step.device
        batch = {key: states.on(device) for key, states in found.items()}
        weights = self._data.weights_of(index)
        on_device = None if weights is None else weights.to(device)
        return index, batch, self._data.targets[index].to(device), on_device, masks


def ahead(items: Iterable[T]) -> Iterator[T]:
    """The same items in order; a thread makes each one while the caller works on the one before."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]
