"""Predictions for all rows, also those that lack a modality: from the other one, or from no input at all.

A classifier predicts from what there is, as a unimodal model would: an absent modality is zeros after its
layer norm. Where nothing is left that the model reads, the best guess is the majority of the training part,
with the classes' shares there as probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sentifuse import attribution
from sentifuse.attribution import Attribution
from sentifuse.dataset import Dataset, Parts, ViewChoice
from sentifuse.ensemble import Ensemble
from sentifuse.metrics import Array
from sentifuse.model import INPUT_MODES, Classifier
from sentifuse.splits import UNLABELLED_PARTS

# What a row may lack, as `manifest.missing` tells it.
NOTHING, BOTH = "", "image+text"


@dataclass(frozen=True)
class Predicted:
    """What is said of N rows.

    Attributes:
        guids: N, in the order of the split table.
        missing: N, what each row lacks: nothing, `image`, `text` or `image+text`.
        found: probabilities and contributions.
    """

    guids: list[str]
    missing: list[str]
    found: Attribution


def predict(
    model: Classifier | Ensemble,
    parts: Parts,
    splits: pd.DataFrame,
    missing: dict[str, str],
    views: ViewChoice,
    temperature: float,
) -> Predicted:
    """Answers every unlabelled row of the split table.

    Args:
        model: the classifier, or several that vote.
        parts: the data; `predict` has the rows with some input.
        splits: the split table.
        missing: guid -> what the sample lacks; a guid that it has not lacks everything.
        views: which views of an image the model sees.
        temperature: of the probabilities.
    """
    guids = list(splits.loc[splits["split"].isin(UNLABELLED_PARTS), "guid"])
    kinds = [missing.get(guid, BOTH) for guid in guids]
    place = {guid: row for row, guid in enumerate(guids)}
    at = np.array([place[guid] for guid in parts.predict.guids], dtype=np.int64)
    found = _shares(parts, len(guids))
    own = np.array([kinds[row] for row in at], dtype=object)
    unread = INPUT_MODES[model.config.input_mode]
    for kind in dict.fromkeys(own):
        absent = set(kind.split("+")) - {""}
        if absent | unread == {"image", "text"}:
            continue
        same = np.flatnonzero(own == kind)
        some = attribution.attribute(model, _rows(parts.predict, same), views, temperature, absent)
        for name, values in vars(some).items():
            getattr(found, name)[at[same]] = values
    return Predicted(guids, kinds, found)


def _shares(parts: Parts, count: int) -> Attribution:
    """What is said of `count` rows of which nothing is known."""
    counts = np.bincount(parts.train.targets.numpy(), minlength=len(parts.labels))
    shares: Array = np.tile(counts / counts.sum(), (count, 1))
    # The logarithm of a class that nobody has would be infinite.
    logits = np.log(np.maximum(shares, np.finfo(np.float32).tiny))
    zeros = np.zeros_like(shares)
    return Attribution(logits, shares, shares.copy(), zeros, zeros.copy())


def _rows(data: Dataset, index: np.ndarray) -> Dataset:
    guids: Sequence[str] = [data.guids[row] for row in index]
    return Dataset(data.features, data.rows[index], data.targets[index], guids)
