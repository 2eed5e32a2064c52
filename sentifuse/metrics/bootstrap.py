"""Intervals by resampling the samples of a part (Efron and Tibshirani 1993, chapters 13 and 16).

The bootstrap is stratified: every resample has as many samples of each class as the part itself, so an
interval is about other samples with the same shares of the classes. All models are scored on the same
resamples, so that differences between them are paired.

Samples of one class for which every model predicts the same are interchangeable. So a resample is drawn as
the count of each *pattern* (class, prediction of each model), by one multinomial per class. That is the
distribution of drawing samples one by one, at a cost that does not grow with their number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentifuse.config.recipe import IntervalOptions
from sentifuse.metrics.scores import ClassIndices, Floats, summary

# Counts that are in memory at a time while resampling.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A percentile interval."""

    low: float
    high: float


def resample(
    targets: ClassIndices, predictions: ClassIndices, classes: int, *, resamples: int, seed: int
) -> NDArray[np.int64]:
    """Confusion matrices of M models on B stratified resamples.

    Args:
        targets: (N,) class indices, N > 0.
        predictions: (M, N) class indices, one row per model.
        classes: C.
        resamples: B.
        seed: the same seed gives the same resamples.

    Returns:
        (B, M, C, C): rows are the actual, columns the predicted classes.
    """
    models = len(predictions)
    patterns, counts = np.unique(np.vstack([targets, predictions]), axis=1, return_counts=True)
    actual, predicted = patterns[0], patterns[1:]  # (U,), (M, U)
    # Which cell of which model's matrix a pattern counts in: (U, M * C * C).
    cells = (np.arange(models)[:, None] * classes + actual) * classes + predicted  # (M, U)
    place = np.zeros((len(actual), models * classes**2))
    place[np.arange(len(actual)), cells] = 1
    rng = np.random.default_rng(seed)
    out = np.empty((resamples, models * classes**2), dtype=np.int64)
    block = max(1, _BLOCK // len(actual))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        drawn = np.zeros((stop - start, len(actual)))
        for label in np.unique(actual):
            own = actual == label
            total = counts[own].sum()
            drawn[:, own] = rng.multinomial(total, counts[own] / total, size=stop - start)
        out[start:stop] = np.rint(drawn @ place)
    return out.reshape(resamples, models, classes, classes)


def scores(
    targets: ClassIndices,
    predictions: ClassIndices,
    classes: int,
    options: IntervalOptions,
    seed: int,
) -> dict[str, Floats]:
    """The scores `HEADLINE` of M models on B resamples, (B, M) each; arguments as of `resample`."""
    return summary(resample(targets, predictions, classes, resamples=options.resamples, seed=seed))


def resample_groups(
    groups: Sequence[str], *, resamples: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """How often each of N samples stands in each of the resamples, which are of whole groups.

    Copies of one sample tell less than as many others, so they are drawn together. It is not stratified.

    Args:
        groups: the names of the groups of the samples, N.
        resamples: how many weights (N,) there are.
        seed: the same seed gives the same resamples.
    """
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[group]


def interval(values: Floats, level: float) -> Interval:
    """The middle `level` (0..1) of `values` (B,)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def p_value(differences: Floats) -> float:
    """The two-sided p-value of no difference, from the resampled `differences` (B,), 0 < p <= 1.

    It is 1 - level of the widest percentile interval that excludes zero, with one added to each count so
    that it is never 0 (Davison and Hinkley 1997, section 4.2).
    """
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(differences) + 1)))
