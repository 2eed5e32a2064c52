"""Rows of the feature files -> batches of tensors, with plain indexing.

A batch is a gather from a memory map, which is cheaper than what a `DataLoader` costs.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentifuse.errors import UserError
from sentifuse.features.schema import Array, EncoderMeta, Features
from sentifuse.runtime import finite

RowIndices = NDArray[np.int64]
# Which views of an image a batch holds: the plain one, one drawn at random, or all, to be averaged.
ViewChoice = Literal["plain", "draw", "mean"]

_BATCHES_PER_POOL = 32


@dataclass(frozen=True)
class Needs:
    """Which states a model reads, beside the embeddings.

    Attributes:
        tokens: keys of the encoders whose token states it reads.
        hidden: keys of those whose states at the split point it reads; tokens come from these, then.
    """

    tokens: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()

    @property
    def states(self) -> frozenset[str]:
        """The keys of both."""
        return self.tokens | self.hidden


@dataclass(frozen=True)
class States:
    """What one encoder gave of B samples; states that the model does not read are None.

    Attributes:
        embedding: (B, V', D), of the V' views to average; of a text, V' is 1.
        tokens: (B, P or T, H), for attention.
        hidden: (B, V', P, H) of images, (B, T, H) of texts, at the split point.
        mask: (B, T) bool, True for real tokens of a text.
    """

    embedding: Tensor
    tokens: Tensor | None = None
    hidden: Tensor | None = None
    mask: Tensor | None = None

    def to(self, dtype: torch.dtype) -> "States":
        """The same in `dtype`; the mask stays as it is."""
        floats = {
            name: x.to(dtype)
            for name, x in vars(self).items()
            if x is not None and x.is_floating_point()
        }
        return replace(self, **floats)

    def on(self, device: torch.device) -> "States":
        """The same on `device`; on its way to a GPU it passes through pinned memory, so that nobody waits."""
        if device.type == "cpu":
            return self
        there = {
            name: x.pin_memory().to(device, non_blocking=True)
            for name, x in vars(self).items()
            if x is not None
        }
        return replace(self, **there)


# B samples: what each encoder gave, by its key.
Batch = Mapping[str, States]


@dataclass(frozen=True)
class Dataset:
    """Some rows of the features.

    Attributes:
        features: all features.
        rows: (N,), the rows in the features, in order.
        targets: (N,) int64 class indices; -1 where the label is unknown.
        guids: N, in the same order.
        weights: (N,) float32, how much each counts in the loss; None for all the same.
    """

    features: Features
    rows: RowIndices
    targets: Tensor
    guids: Sequence[str]
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(
        self,
        index: RowIndices,
        needs: Needs,
        views: ViewChoice = "plain",
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Gathers the samples at `index` (positions in this data set).

        Args:
            index: (B,).
            needs: the states to gather.
            views: which views of each image.
            rng: for `draw`.

        Raises:
            UserError: a state that `preprocess` was not asked to keep.
            ValueError: `draw` without a generator.
        """
        rows = self.rows[index]
        chosen: tuple[RowIndices, RowIndices | slice] = (rows, slice(0, 1))
        if views == "mean":
            chosen = (rows, slice(None))
        elif views == "draw":
            if rng is None:
                raise ValueError("drawing views needs a random generator")
            drawn = rng.integers(self.features.meta.views, size=(len(rows), 1))
            chosen = (rows[:, None], drawn)
        return {
            encoder.key: self._states(encoder, rows, chosen, needs)
            for encoder in self.features.meta.encoders
        }

    def weights_of(self, index: RowIndices) -> Tensor | None:
        """The weights (B,) of the samples at `index` (B,), if they have any."""
        return None if self.weights is None else self.weights[index]

    def _states(
        self,
        encoder: EncoderMeta,
        rows: RowIndices,
        views: tuple[RowIndices, RowIndices | slice],
        needs: Needs,
    ) -> States:
        arrays, key = self.features.arrays[encoder.key], encoder.key
        if encoder.modality == "image":
            embedding, hidden, tokens = _tensor(arrays.embeddings[views]), None, None
            if key in needs.hidden:
                hidden = _tensor(_kept(arrays.hidden)[views])
            elif key in needs.tokens:
                tokens = _tensor(_kept(arrays.tokens)[rows])
            return States(embedding, tokens, hidden)
        embedding = _tensor(arrays.embeddings[rows])
        if key not in needs.states:
            return States(embedding)
        offsets = _kept(arrays.offsets)
        starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
        if key in needs.hidden:
            return States(embedding, None, _padded(_kept(arrays.hidden), starts, lengths), mask)
        return States(embedding, _padded(_kept(arrays.tokens), starts, lengths), None, mask)

    def check_features(self, index: RowIndices) -> None:
        """Checks the embeddings of the samples at `index`, all views, to explain a sum that is NaN.

        Raises:
            UserError: one is NaN or infinite; it names the guid.
        """
        rows = self.rows[index]
        guids = [f"guid {self.guids[place]}" for place in index]
        for arrays in self.features.arrays.values():
            finite.check(
                arrays.embeddings[rows], guids, "features", "run `dvc repro preprocess` again"
            )

    def epoch(
        self, batch_size: int, rng: np.random.Generator, by_length: Collection[str]
    ) -> Iterator[RowIndices]:
        """All positions in random order, `batch_size` at a time; the last one may be smaller.

        Args:
            batch_size: B.
            rng: the source of the order.
            by_length: keys of the encoders whose states a batch holds. If there are texts among them, texts
                of similar length share a batch, so that little of it is padding: the samples of some
                batches at a time are sorted, then all batches are shuffled.
        """
        order = rng.permutation(len(self))
        lengths = self._text_lengths(by_length)
        if lengths is None:
            yield from _chunks(order, batch_size)
            return
        batches = [
            batch
            for pool in _chunks(order, batch_size * _BATCHES_PER_POOL)
            for batch in _chunks(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
        ]
        for index in rng.permutation(len(batches)):
            yield batches[index]

    def in_order(self, batch_size: int, by_length: Collection[str]) -> list[RowIndices]:
        """All positions, `batch_size` at a time: in their order or, `by_length` as in `epoch`, short texts
        first."""
        lengths = self._text_lengths(by_length)
        order = np.arange(len(self)) if lengths is None else np.argsort(lengths, kind="stable")
        return _chunks(order, batch_size)

    def shards(self, index: RowIndices, count: int, needs: Needs) -> list[RowIndices]:
        """Cuts a batch, as `epoch` gives it, into at most `count` parts that take about as much time.

        Args:
            index: (B,), B > 0; sorted by the length of texts if the model reads their states.
            count: the number of parts; none is empty, so a small batch may give fewer.
            needs: the states that the model reads.
        """
        tokens = np.zeros(len(index), dtype=np.int64)
        lengths = self._text_lengths(needs.states)
        if lengths is not None:
            tokens += lengths[index]
        for encoder in self.features.meta.encoders:
            if encoder.modality == "image" and encoder.key in needs.hidden:
                tokens += _kept(self.features.arrays[encoder.key].hidden).shape[2]
        return np.split(index, _even_cuts(np.maximum(tokens, 1), count))

    def _text_lengths(self, keys: Collection[str]) -> RowIndices | None:
        """The tokens (N,) of each sample's text, for all text encoders of `keys`; None if there are none."""
        found = [
            _kept(self.features.arrays[encoder.key].offsets)
            for encoder in self.features.meta.encoders
            if encoder.modality == "text" and encoder.key in keys
        ]
        if not found:
            return None
        lengths: RowIndices = np.sum(
            [each[self.rows + 1] - each[self.rows] for each in found], axis=0
        )
        return lengths


def _chunks(rows: RowIndices, size: int) -> list[RowIndices]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _even_cuts(tokens: RowIndices, count: int) -> list[int]:
    """Where to cut samples, the longest last, so that the largest part, with its padding, is smallest."""

    def cuts(capacity: int) -> list[int]:
        found: list[int] = []
        end = len(tokens)
        while (end := end - max(capacity // int(tokens[end - 1]), 1)) > 0:
            found.insert(0, end)
        return found

    least = bisect_left(
        range(int(tokens.max()) * len(tokens)), True, key=lambda c: len(cuts(c)) < count
    )
    return cuts(least)


def _kept(array: Array | None) -> Array:
    if array is None:
        raise UserError(
            "data/features lacks the token or hidden states that this model reads: set "
            "backbone.tokens=true for attention, unfreeze_*_layers for finetuning, then `dvc repro`"
        )
    return array


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


def _padded(ragged: Array, starts: RowIndices, lengths: RowIndices) -> Tensor:
    """The rows `starts[i] : starts[i] + lengths[i]` as (B, T, H) float32, filled up with zeros."""
    out = torch.zeros(len(starts), int(lengths.max()), ragged.shape[1])
    for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        out[index, :length] = torch.from_numpy(ragged[start : start + length].astype(np.float32))
    return out
