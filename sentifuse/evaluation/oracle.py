"""What an oracle would reach that chooses, for each sample, the answer of the better modality.

The oracle knows the label: it is right wherever one of its models is. So it is a ceiling for every way to
choose between them, and none for a model that learns from both inputs at once. A second model that knows
nothing lifts the oracle, too, because some of its guesses are right by luck: read it against that.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentifuse.evaluation.answers import Answers
from sentifuse.evaluation.baselines import UNIMODAL
from sentifuse.metrics import proportions
from sentifuse.metrics.scores import ClassIndices


def scores(answers: Answers, level: float) -> dict[str, Any]:
    """The accuracy of the oracle; empty where one of the models of one modality is missing.

    Args:
        answers: N > 0 test samples.
        level: of the intervals, which are Wilson's, 0..1.

    Returns:
        `text_or_image`, which chooses between both models of one modality, and `text_or_image_or_model`,
        which may choose the model itself, too: each with `accuracy`, `low` and `high`. `by_luck` is the
        expected accuracy of the first one after the answers of one of its models were dealt out at random;
        the larger of the two such figures.
    """
    if any(name not in answers.given for name in UNIMODAL):
        return {}
    targets = answers.targets
    text, image = (answers.given[name] for name in UNIMODAL)
    either = (text == targets) | (image == targets)
    return {
        "text_or_image": _share(either, level),
        "text_or_image_or_model": _share(either | (answers.predicted == targets), level),
        "by_luck": max(_by_luck(targets, text, image), _by_luck(targets, image, text)),
    }


def _share(right: NDArray[np.bool_], level: float) -> dict[str, float]:
    hits, total = int(right.sum()), len(right)
    return {
        "accuracy": hits / total,
        **asdict(proportions.wilson((hits, total), level)),
    }


def _by_luck(targets: ClassIndices, kept: ClassIndices, dealt: ClassIndices) -> float:
    """Where the answers `kept` are wrong, a dealt one is right as often as that class is answered."""
    shares = np.bincount(dealt, minlength=int(targets.max()) + 1) / len(dealt)
    return float(np.where(kept == targets, 1.0, shares[targets]).mean())
