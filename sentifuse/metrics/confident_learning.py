"""Which labels are probably wrong, and how many: confident learning.

It is the method of Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset
Labels", JAIR 70. A model is *sure* of a class for a sample if it gives the class no less than it gives it on
average to the samples that have it as their label. If the model is sure of another class than the label, the
label is probably wrong. Each class has a threshold of its own, so that a rare class is not at a disadvantage.

Probabilities are (N, C) and out of fold, because a model agrees with a label that it has learnt. Targets are
(N,), the labels as class indices, N > 0. Weights (N,) say how often a sample counts; None is once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentifuse.metrics.scores import ClassIndices, Floats

# Rounding may put the mean of equal probabilities a little above each of them.
_ROUNDING = 1e-9
_UNSURE = -1


@dataclass(frozen=True)
class Noise:
    """How labels of C classes are wrong.

    Attributes:
        wrong: the share of all labels that are wrong, 0..1.
        matrix: (C, C), the chance that a sample of the row's class has the column's label; rows sum to 1.
            A row is NaN if the model is not sure of its class for any sample.
    """

    wrong: float
    matrix: Floats


def estimate(
    probabilities: Floats, targets: ClassIndices, weights: NDArray[np.int64] | None = None
) -> Noise:
    """The noise that the confident joint shows, calibrated to the counts of the labels."""
    counts = _joint(probabilities, targets, weights)
    of_true = counts.sum(axis=0)
    with np.errstate(invalid="ignore"):
        matrix = (counts / of_true).T
    return Noise(float(1 - np.trace(counts) / counts.sum()), matrix)


def suggested(probabilities: Floats, targets: ClassIndices) -> ClassIndices:
    """The class (N,) that each sample probably has: where it is not the label, the label is probably wrong.

    It is the likeliest of the classes that the model is sure of, or the label if it is sure of none.
    """
    best = _sure_of(probabilities, _thresholds(probabilities, targets, None))
    return np.where(best == _UNSURE, targets, best)


def margins(probabilities: Floats, targets: ClassIndices) -> Floats:
    """The probability of the label minus that of the likeliest other class, (N,), -1..1; lowest is worst."""
    rows = np.arange(len(targets))
    others = probabilities.copy()
    others[rows, targets] = -np.inf
    out: Floats = probabilities[rows, targets] - others.max(axis=1)
    return out


def _thresholds(
    probabilities: Floats, targets: ClassIndices, weights: NDArray[np.int64] | None
) -> Floats:
    """(C,): the mean probability of each class over the samples with its label; infinite without samples."""
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(targets)), targets]
    counted = own if weights is None else own * weights
    sums = np.bincount(targets, counted, minlength=classes)
    sizes = np.bincount(targets, weights, minlength=classes)
    return np.where(sizes > 0, sums / np.maximum(sizes, 1) - _ROUNDING, np.inf)


def _sure_of(probabilities: Floats, thresholds: Floats) -> ClassIndices:
    sure = probabilities >= thresholds
    best: ClassIndices = np.where(sure, probabilities, -np.inf).argmax(axis=1)
    return np.where(sure.any(axis=1), best, _UNSURE)


def _joint(
    probabilities: Floats, targets: ClassIndices, weights: NDArray[np.int64] | None
) -> Floats:
    """(C, C): how many samples with the label of the row are of the class of the column."""
    classes = probabilities.shape[1]
    best = _sure_of(probabilities, _thresholds(probabilities, targets, weights))
    sure = best != _UNSURE
    cells = targets[sure] * classes + best[sure]
    counted = None if weights is None else weights[sure]
    joint = np.bincount(cells, counted, minlength=classes**2).reshape(classes, classes)
    # The model is sure of some samples of each label only; the others are taken to be like these.
    sizes = np.bincount(targets, weights, minlength=classes)
    shares = joint / np.maximum(joint.sum(axis=1, keepdims=True), 1)
    out: Floats = shares * sizes[:, None]
    return out
