"""Scores a checkpoint on the parts that have labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sentifuse.dataset import Dataset, Parts, ViewChoice
from sentifuse.metrics import scores
from sentifuse.model import Classifier, Ensemble
from sentifuse.training import predict


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        metrics: part name (`val`, `test`) -> `metrics.scores`; without such parts, a `note` only.
        confusion: a row a sample of the test part, columns `actual` and `predicted`, by class name.
    """

    metrics: dict[str, Any]
    confusion: pd.DataFrame


def evaluate(model: Classifier | Ensemble, parts: Parts, views: ViewChoice) -> Evaluation:
    """Scores `model` on validation and test, whichever is not empty."""
    # One thread, so that the last digits do not depend on the number of cores.
    torch.set_num_threads(1)
    metrics: dict[str, Any] = {}
    confusion = pd.DataFrame(columns=["actual", "predicted"])
    for name, data in (("val", parts.val), ("test", parts.test)):
        if not len(data):
            continue
        predicted = predict(model, data, views).argmax(dim=1)
        metrics[name] = scores(data.targets.numpy(), predicted.numpy(), parts.labels)
        if name == "test":
            confusion = pd.DataFrame(
                {
                    "actual": [parts.labels[target] for target in data.targets],
                    "predicted": [parts.labels[guess] for guess in predicted],
                }
            )
    if not metrics:
        metrics["note"] = "val_size and test_size are 0: there is nothing to evaluate on"
    return Evaluation(metrics, confusion)


def counts(confusion: pd.DataFrame, labels: Sequence[str]) -> NDArray[np.int64]:
    """The confusion matrix (C, C) of `Evaluation.confusion`: rows are actual classes."""
    table = pd.crosstab(confusion["actual"], confusion["predicted"])
    return table.reindex(index=list(labels), columns=list(labels), fill_value=0).to_numpy(
        dtype=np.int64
    )


def probabilities(model: Classifier | Ensemble, data: Dataset, views: ViewChoice) -> Tensor:
    """Softmax probabilities (N, C) in float64, so that the rows sum to 1 to the last digit written."""
    torch.set_num_threads(1)
    return predict(model, data, views).double().softmax(dim=1)
