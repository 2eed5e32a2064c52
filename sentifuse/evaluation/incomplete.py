"""Predictions for all unlabelled rows, also for those that lack a modality or both.

The classifier predicts from what there is, as a unimodal model would: an absent modality is zeros after its
layer norm. Where nothing is left that the model reads, the prediction is the majority of the training part,
with the classes' shares there as probabilities.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from sentifuse.data.splits import UNLABELLED_PARTS, SplitRow
from sentifuse.evaluation import attribution
from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.features.parts import check_labels
from sentifuse.features.schema import Features
from sentifuse.metrics.scores import Floats
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.classifier import INPUT_MODES, Classifier
from sentifuse.models.ensemble import Ensemble

# What a row may lack, as `manifest.incomplete` names it.
NOTHING, BOTH = "", "image+text"

_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Predicted:
    """Predictions for N rows.

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
    features: Features,
    rows: Iterable[SplitRow],
    lacking: Mapping[str, str],
    views: ViewChoice,
    temperature: float,
) -> Iterator[Predicted]:
    """Predicts every unlabelled row of the split table, some thousands at a time.

    Args:
        model: the classifier, or several that vote.
        features: of the samples with some input.
        rows: the split table, which is read twice.
        lacking: guid -> what the sample lacks, of those that lack something and have features.
        views: which views of an image the model sees.
        temperature: of the probabilities.

    Yields:
        The predictions for the next rows; an empty one if there are none.

    Raises:
        UserError: a guid without features, or a label that the model does not know.
    """
    shares = _shares(rows, model.config.labels)
    unread = INPUT_MODES[model.config.input_mode]
    model = attribution.in_float64(model)
    for some in _portions(row for row in rows if row.split in UNLABELLED_PARTS):
        kinds = [
            BOTH if row.split == "no_input" else lacking.get(row.guid, NOTHING) for row in some
        ]
        found = _from_nothing(shares, len(some))
        for kind in dict.fromkeys(kinds):
            absent = set(kind.split("+")) - {NOTHING}
            if absent | unread == {"image", "text"}:
                continue
            places = [place for place, each in enumerate(kinds) if each == kind]
            data = _unlabelled(features, [some[place].guid for place in places])
            own = attribution.attribute(model, data, views, temperature, absent)
            for name, values in vars(own).items():
                getattr(found, name)[places] = values
        yield Predicted([row.guid for row in some], kinds, found)


def _shares(rows: Iterable[SplitRow], labels: Sequence[str]) -> Floats:
    """(C,), the share of each class in the training part."""
    counts = Counter(row.label for row in rows if row.split == "train")
    check_labels(counts, labels)
    shares: Floats = np.array([counts[label] for label in labels]) / counts.total()
    return shares


def _portions(rows: Iterator[SplitRow]) -> Iterator[list[SplitRow]]:
    """`_ROWS_AT_A_TIME` rows at a time; without rows, one portion that is empty."""
    some = list(islice(rows, _ROWS_AT_A_TIME))
    yield some
    while some := list(islice(rows, _ROWS_AT_A_TIME)):
        yield some


def _unlabelled(features: Features, guids: list[str]) -> Dataset:
    return Dataset(features, features.rows(guids), torch.full((len(guids),), -1), guids)


def _from_nothing(shares: Floats, count: int) -> Attribution:
    """The predictions for `count` rows without input."""
    probabilities: Floats = np.tile(shares, (count, 1))
    # The logarithm of a class without samples would be infinite.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    zeros = np.zeros_like(probabilities)
    return Attribution(logits, probabilities, probabilities.copy(), zeros, zeros.copy())
