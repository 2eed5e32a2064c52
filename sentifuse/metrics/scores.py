"""Scores of a classifier, keyed by class name, all from its confusion matrix.

Plain numpy over any number of matrices at once: a bootstrap scores thousands of them, and a training
stage need not import scikit-learn, which takes more than a second. The tests compare with its figures.

Targets and predictions are (N,) class indices. Confusion matrices are (..., C, C): rows are the actual,
columns the predicted classes. All scores are 0..1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ClassIndices = NDArray[np.int64]
Floats = NDArray[np.float64]

# The scores that are reported with an interval.
HEADLINE = ("accuracy", "macro_f1", "weighted_f1", "precision_macro", "recall_macro")

# Those that training follows on validation.
WATCHED = ("accuracy", "macro_f1")

# Those by which models are compared: papers report the one F1 or the other.
COMPARED = (*WATCHED, "weighted_f1")


def confusion(targets: ClassIndices, predicted: ClassIndices, classes: int) -> ClassIndices:
    """The confusion matrix (C, C) of N samples of C classes."""
    cells = np.bincount(targets * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def confusion_by_name(
    actual: Sequence[str], predicted: Sequence[str], labels: Sequence[str]
) -> ClassIndices:
    """The confusion matrix of N class names; rows and columns in the order of `labels`."""
    number = {label: index for index, label in enumerate(labels)}
    targets, guesses = (
        np.array([number[name] for name in names], dtype=np.int64) for names in (actual, predicted)
    )
    return confusion(targets, guesses, len(labels))


def per_class(confusions: NDArray[Any]) -> dict[str, Floats]:
    """`precision`, `recall` and `f1`, each (..., C); 0 for a class that is never predicted or never there."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1).astype(np.float64)
    actual, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(actual, 1),
        "f1": 2 * hits / np.maximum(actual + predicted, 1),
    }


def summary(confusions: NDArray[Any]) -> dict[str, Floats]:
    """The scores `HEADLINE` of each matrix, (...,), none of which may be empty.

    Means over classes (`macro`) count every class, one without samples with 0; `weighted_f1` weighs a
    class by its samples.
    """
    of_class = per_class(confusions)
    actual = confusions.sum(axis=-1)
    samples = actual.sum(axis=-1)
    return {
        "accuracy": np.trace(confusions, axis1=-2, axis2=-1) / samples,
        "macro_f1": of_class["f1"].mean(axis=-1),
        "weighted_f1": (of_class["f1"] * actual).sum(axis=-1) / samples,
        "precision_macro": of_class["precision"].mean(axis=-1),
        "recall_macro": of_class["recall"].mean(axis=-1),
    }


def headline(
    targets: ClassIndices, predicted: ClassIndices, classes: int, names: Sequence[str] = WATCHED
) -> dict[str, float]:
    """The scores `names` of `HEADLINE`; a class without samples counts with F1 0."""
    found = summary(confusion(targets, predicted, classes))
    return {name: float(found[name]) for name in names}


def scores(targets: ClassIndices, predicted: ClassIndices, labels: Sequence[str]) -> dict[str, Any]:
    """The scores of one part of the data: `samples`, `HEADLINE`, and under `per_class` by class name
    `precision`, `recall`, `f1` and `support`."""
    counts = confusion(targets, predicted, len(labels))
    of_class = per_class(counts)
    return {
        "samples": len(targets),
        **{name: float(value) for name, value in summary(counts).items()},
        "per_class": {
            label: {
                **{name: float(values[index]) for name, values in of_class.items()},
                "support": int(counts[index].sum()),
            }
            for index, label in enumerate(labels)
        },
    }
