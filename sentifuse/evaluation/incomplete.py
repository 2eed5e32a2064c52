"""Predictions for all rows, also those that lack a modality: from the other one, or from no input at all.

A classifier predicts from what there is, as a unimodal model would: an absent modality is zeros after its
layer norm. Where nothing is left that the model reads, the best guess is the majority of the training part,
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
from sentifuse.evaluation.attribution import Attribution
from sentifuse.features.batches import Dataset, ViewChoice, check_labels
from sentifuse.features.schema import Features
from sentifuse.metrics.scores import Floats
from sentifuse.models.classifier import INPUT_MODES, Classifier
from sentifuse.models.ensemble import Ensemble

# What a row may lack, as `manifest.incomplete` tells it.
NOTHING, BOTH = "", "image+text"

_ROWS_AT_A_TIME = 4096


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
    features: Features,
    rows: Iterable[SplitRow],
    lacking: Mapping[str, str],
    views: ViewChoice,
    temperature: float,
) -> Iterator[Predicted]:
    """Answers every unlabelled row of the split table, some thousands at a time.

    Args:
        model: the classifier, or several that vote.
        features: of the samples with some input.
        rows: the split table, gone through twice.
        lacking: guid -> what the sample lacks, of those that lack something and have features.
        views: which views of an image the model sees.
        temperature: of the probabilities.

    Yields:
        What is said of the next rows; once, of none, if there are none.

    Raises:
        UserError: a guid without features, or a label that the model does not know.
    """
    labels = model.config.labels
    counts = Counter(row.label for row in rows if row.split == "train")
    check_labels(counts, labels)
    shares = np.array([counts[label] for label in labels]) / counts.total()
    model = attribution.in_float64(model)
    unlabelled = (row for row in rows if row.split in UNLABELLED_PARTS)
    some = list(islice(unlabelled, _ROWS_AT_A_TIME))
    while True:
        kinds = [BOTH if row.split == "no_input" else lacking.get(row.guid, "") for row in some]
        guids = [row.guid for row in some]
        yield Predicted(
            guids, kinds, _answer(model, features, guids, kinds, shares, views, temperature)
        )
        some = list(islice(unlabelled, _ROWS_AT_A_TIME))
        if not some:
            return


def _answer(
    model: Classifier | Ensemble,
    features: Features,
    guids: Sequence[str],
    kinds: Sequence[str],
    shares: Floats,
    views: ViewChoice,
    temperature: float,
) -> Attribution:
    found = _unknown(shares, len(guids))
    unread = INPUT_MODES[model.config.input_mode]
    for kind in dict.fromkeys(kinds):
        absent = set(kind.split("+")) - {""}
        if absent | unread == {"image", "text"}:
            continue
        same = [place for place, each in enumerate(kinds) if each == kind]
        own = [guids[place] for place in same]
        data = Dataset(features, features.rows(own), torch.full((len(own),), -1), own)
        some = attribution.attribute(model, data, views, temperature, absent)
        for name, values in vars(some).items():
            getattr(found, name)[same] = values
    return found


def _unknown(shares: Floats, count: int) -> Attribution:
    """What is said of `count` rows of which nothing is known."""
    probabilities: Floats = np.tile(shares, (count, 1))
    # The logarithm of a class that nobody has would be infinite.
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    zeros = np.zeros_like(probabilities)
    return Attribution(logits, probabilities, probabilities.copy(), zeros, zeros.copy())
