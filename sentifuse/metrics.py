"""Scores of a classifier, keyed by class name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, classification_report, f1_score

Labels = NDArray[np.int64]


def headline(targets: Labels, predicted: Labels, classes: int) -> dict[str, float]:
    """Accuracy and macro-F1, each 0..1; a class without samples counts with F1 0."""
    return {
        "accuracy": float(accuracy_score(targets, predicted)),
        "macro_f1": float(
            f1_score(targets, predicted, labels=range(classes), average="macro", zero_division=0)
        ),
    }


def scores(targets: Labels, predicted: Labels, labels: Sequence[str]) -> dict[str, Any]:
    """The scores of one part of the data.

    Args:
        targets: (N,) class indices.
        predicted: (N,) class indices.
        labels: class names, C.

    Returns:
        `samples`, `accuracy`, `macro_f1`, `weighted_f1`, `precision_macro`, `recall_macro`, and
        `per_class.<label>` with `precision`, `recall`, `f1` and `support`. All but the counts are 0..1.
    """
    report = classification_report(
        targets,
        predicted,
        labels=range(len(labels)),
        target_names=list(labels),
        output_dict=True,
        zero_division=0,
    )
    per_class = {
        label: {
            "precision": report[label]["precision"],
            "recall": report[label]["recall"],
            "f1": report[label]["f1-score"],
            "support": int(report[label]["support"]),
        }
        for label in labels
    }
    return {
        "samples": len(targets),
        **headline(targets, predicted, len(labels)),
        "weighted_f1": report["weighted avg"]["f1-score"],
        "precision_macro": report["macro avg"]["precision"],
        "recall_macro": report["macro avg"]["recall"],
        "per_class": per_class,
    }
