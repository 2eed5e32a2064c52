"""Rows of the feature files -> batches of tensors, with plain indexing.

A batch is a gather from a memory map, which is cheaper than what a `DataLoader` costs.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentifuse.errors import UserError
from sentifuse.features.schema import Array, Features
from sentifuse.runtime import finite

RowIndices = NDArray[np.int64]
# Which views of an image a batch holds: the plain one, one drawn at random, or all, to be averaged.
ViewChoice = Literal["plain", "draw", "mean"]

_BATCHES_PER_POOL = 32


@dataclass(frozen=True)
class Needs:
    """Which states a model reads, beside the embeddings."""

    tokens: bool
    text_hidden: bool
    image_hidden: bool

    @property
    def text_states(self) -> bool:
        """Whether a batch holds padded text states, so that texts of similar length belong together."""
        return self.tokens or self.text_hidden


@dataclass(frozen=True)
class Batch:
    """B samples; states that the model does not read may be None.

    Attributes:
        image: (B, V', D_image) embeddings of the V' views to average.
        text: (B, D_text) embeddings.
        text_mask: (B, T) bool, True for real tokens of the two below.
        text_tokens: (B, T, H), for attention.
        text_hidden: (B, T, H), at the split point.
        image_tokens: (B, P, H), for attention.
        image_hidden: (B, V', P, H), at the split point.
    """

    image: Tensor
    text: Tensor
    text_mask: Tensor | None = None
    text_tokens: Tensor | None = None
    text_hidden: Tensor | None = None
    image_tokens: Tensor | None = None
    image_hidden: Tensor | None = None

    def to(self, dtype: torch.dtype) -> "Batch":
        """The batch with all its states in `dtype`; the mask stays as it is."""
        states = vars(self).items()
        floats = {name: x for name, x in states if x is not None and x.is_floating_point()}
        return replace(self, **{name: x.to(dtype) for name, x in floats.items()})


@dataclass(frozen=True)
class Dataset:
    """Some rows of the features.

    Attributes:
        features: all features.
        rows: (N,), the rows in the features, in order.
        targets: (N,) int64 class indices; -1 where the label is unknown.
        guids: N, in the same order.
    """

    features: Features
    rows: RowIndices
    targets: Tensor
    guids: Sequence[str]

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
        f, rows = self.features, self.rows[index]
        chosen: tuple[RowIndices, RowIndices | slice] = (rows, slice(0, 1))
        if views == "mean":
            chosen = (rows, slice(None))
        elif views == "draw":
            if rng is None:
                raise ValueError("drawing views needs a random generator")
            chosen = (rows[:, None], rng.integers(f.meta.views, size=(len(rows), 1)))
        states: dict[str, Tensor] = {}
        if needs.text_states:
            offsets = _kept(f.text_offsets)
            starts, lengths = offsets[rows], offsets[rows + 1] - offsets[rows]
            states["text_mask"] = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
            if needs.text_hidden:
                states["text_hidden"] = _padded(_kept(f.text_hidden), starts, lengths)
            else:
                states["text_tokens"] = _padded(_kept(f.text_tokens), starts, lengths)
        if needs.image_hidden:
            states["image_hidden"] = _tensor(_kept(f.image_hidden)[chosen])
        elif needs.tokens:
            states["image_tokens"] = _tensor(_kept(f.image_tokens)[rows])
        return Batch(
            _tensor(f.image_embeddings[chosen]), _tensor(f.text_embeddings[rows]), **states
        )

    def check_features(self, index: RowIndices) -> None:
        """Checks the embeddings of the samples at `index`, all views, to explain a sum that is NaN.

        Raises:
            UserError: one is NaN or infinite; it names the guid.
        """
        rows = self.rows[index]
        guids = [f"guid {self.guids[place]}" for place in index]
        for values in (self.features.image_embeddings, self.features.text_embeddings):
            finite.check(values[rows], guids, "features", "run `dvc repro preprocess` again")

    def epoch(
        self, batch_size: int, rng: np.random.Generator, by_length: bool
    ) -> Iterator[RowIndices]:
        """All positions in random order, `batch_size` at a time; the last one may be smaller.

        Args:
            batch_size: B.
            rng: the source of the order.
            by_length: whether texts of similar length share a batch, so that little of it is padding:
                the samples of some batches at a time are sorted, then all batches are shuffled.
        """
        order = rng.permutation(len(self))
        if not by_length:
            yield from _chunks(order, batch_size)
            return
        lengths = self._text_lengths()
        batches = [
            batch
            for pool in _chunks(order, batch_size * _BATCHES_PER_POOL)
            for batch in _chunks(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
        ]
        for index in rng.permutation(len(batches)):
            yield batches[index]

    def in_order(self, batch_size: int, by_length: bool) -> list[RowIndices]:
        """All positions, `batch_size` at a time: in their order or, `by_length`, short texts first."""
        order = np.arange(len(self))
        if by_length:
            order = np.argsort(self._text_lengths(), kind="stable")
        return _chunks(order, batch_size)

    def shards(self, index: RowIndices, count: int, needs: Needs) -> list[RowIndices]:
        """Cuts a batch, as `epoch` gives it, into at most `count` parts that take about as much time.

        Args:
            index: (B,), B > 0; `by_length` if the model reads text states.
            count: the number of parts; none is empty, so a small batch may give fewer.
            needs: the states that the model reads.
        """
        tokens = np.zeros(len(index), dtype=np.int64)
        if needs.text_states:
            tokens += self._text_lengths()[index]
        if needs.image_hidden:
            tokens += _kept(self.features.image_hidden).shape[2]
        return np.split(index, _even_cuts(np.maximum(tokens, 1), count))

    def _text_lengths(self) -> RowIndices:
        offsets = _kept(self.features.text_offsets)
        lengths: RowIndices = offsets[self.rows + 1] - offsets[self.rows]
        return lengths


@dataclass(frozen=True)
class Parts:
    """The data of a run, by part; any but `train` may be empty."""

    labels: Sequence[str]
    train: Dataset
    val: Dataset
    test: Dataset
    predict: Dataset


def load_parts(features: Features, splits: pd.DataFrame, labels: Sequence[str]) -> Parts:
    """Joins the features with the split table.

    Args:
        features: of every sample in `splits`.
        splits: `guid`, `label`, `split`; each part keeps the order of its rows.
        labels: class names in the order of the logits.

    Raises:
        UserError: a guid has no features, or `labels` lacks a label.
    """
    number = {label: index for index, label in enumerate(labels)}

    def part(name: str) -> Dataset:
        own = splits["split"] == name
        # `tolist`: going through a column itself takes eight times as long.
        found, guids = splits.loc[own, "label"].tolist(), splits.loc[own, "guid"].tolist()
        check_labels(found, labels)
        targets = torch.tensor([number.get(label, -1) for label in found], dtype=torch.int64)
        return Dataset(features, features.rows(guids), targets, guids)

    return Parts(labels, part("train"), part("val"), part("test"), part("predict"))


def check_labels(found: Iterable[str], labels: Sequence[str]) -> None:
    """Checks that `labels` has all labels that were `found`; an empty one stands for none.

    Raises:
        UserError: it lacks some.
    """
    unknown = set(found) - set(labels) - {""}
    if unknown:
        raise UserError(f"labels: {list(labels)}: the splits have {sorted(unknown)}, too")


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
