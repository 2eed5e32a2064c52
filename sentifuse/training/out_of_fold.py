"""What a model says of each sample when it has seen neither that sample nor a copy of it: cross-validation.

The model is a logistic regression on the embeddings of the frozen encoders. docs/label-audit.md compares it
with others.
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sentifuse.data import splits
from sentifuse.data.splits import LabelRow
from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.metrics.calibration import log_loss
from sentifuse.metrics.scores import Floats
from sentifuse.runtime.threads import cores
from sentifuse.training import logistic_regression

# Samples whose embeddings are in memory at a time.
_BLOCK = 20_000


def fold_of(
    data: Dataset, labels: Sequence[str], groups: Mapping[str, str], *, count: int, seed: int
) -> NDArray[np.int64]:
    """The fold (N,) of each sample, 0 to `count` - 1: stratified by label, groups whole (`splits.folds`).

    Raises:
        UserError: a label has fewer groups than there are folds.
    """
    rows = [
        LabelRow(guid, labels[target])
        for guid, target in zip(data.guids, data.targets.tolist(), strict=True)
    ]
    return np.array(splits.folds(rows, groups, count=count, seed=seed))


def probabilities(
    data: Dataset,
    folds: NDArray[np.int64],
    classes: int,
    views: ViewChoice,
    encoders: Collection[str],
    seed: int,
) -> Floats:
    """The probabilities (N, C) of each sample by the model of all other folds.

    The penalty is the strongest of `logistic_regression.PENALTIES` after which the log loss of these
    probabilities rises. It is all that a sample's own label decides.

    Args:
        data: N labelled samples.
        folds: (N,), as of `fold_of`.
        classes: C.
        views: which views of an image are averaged.
        encoders: keys of those whose embeddings it reads.
        seed: draws the samples to train on where there are many (`logistic_regression.MAX_ROWS`).
    """
    targets = data.targets.numpy()
    best: Floats = np.empty((0, classes))
    least = np.inf

    def predict(fold: int, penalty: float, out: Floats) -> None:
        own, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        index = logistic_regression.draw(others, seed)
        x = logistic_regression.embeddings(data, index, views, encoders)
        model = logistic_regression.fit(x, targets[index], penalty)
        for start in range(0, len(own), _BLOCK):
            block = own[start : start + _BLOCK]
            x = logistic_regression.embeddings(data, block, views, encoders)
            out[block] = logistic_regression.probabilities(model, x, classes)

    with ThreadPoolExecutor(cores()) as pool:
        for penalty in logistic_regression.PENALTIES:
            found = np.zeros((len(data), classes))
            list(pool.map(partial(predict, penalty=penalty, out=found), np.unique(folds).tolist()))
            loss = log_loss(found, targets)
            if loss >= least:
                break
            best, least = found, loss
    return best
