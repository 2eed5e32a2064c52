"""Whether an export says what its bundle says, measured before the export gets its name."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from sentifuse.config.recipe import IntervalOptions
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.exporting.samples import Samples
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError
from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import ClassIndices

# The largest difference of a probability in float32.
TOLERANCE = 1e-4
# The least share of pairs whose label stays, with weights in int8.
AGREEMENT = 0.99
_HALVED = 32  # samples: the encoders have seen their inputs by then
_INTERVAL = IntervalOptions(level=0.95, resamples=2000)
_FIGURES = ("confidence", "base", "text_contribution", "image_contribution")


@dataclass(frozen=True)
class Accuracy:
    """The share of right labels among the samples: the export's, the bundle's and its 95 % interval."""

    export: float
    bundle: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What was found.

    Attributes:
        pairs: how many were compared: samples, and images and texts of the first ones alone.
        difference: the largest difference of a probability or a contribution.
        agreement: the share of pairs with the same label, 0..1.
        accuracy: None for samples without labels.
    """

    pairs: int
    difference: float
    agreement: float
    accuracy: Accuracy | None

    def told(self) -> str:
        """The figures in words."""
        words = (
            f"{self.pairs} pairs: largest difference {self.difference:.1e}, same label "
            f"{self.agreement:.2%}"
        )
        if self.accuracy is None:
            return words
        each = self.accuracy
        return (
            f"{words}; accuracy {each.export:.3f}, the bundle's {each.bundle:.3f} "
            f"({each.low:.3f} to {each.high:.3f})"
        )


@dataclass(frozen=True)
class Reference:
    """What a bundle says.

    Attributes:
        pairs: the samples, and the images and texts of the first ones alone.
        predictions: of all `pairs`.
        labels: of the samples, which stand first; None if nobody has labelled them.
        classes: the model's.
    """

    pairs: Sequence[Pair]
    predictions: Sequence[Prediction]
    labels: Sequence[str] | None
    classes: Sequence[str]


def refer(bundle: PairPredictor, samples: Samples) -> Reference:
    """Predicts all samples, and the first ones also by each modality alone."""
    whole = list(samples.pairs)
    if samples.labels is None:  # a text that cleaning empties is nothing to a model of texts alone
        whole = _predictable(whole, bundle)
    halves = [replace(pair, **{name: None}) for pair in whole for name in ("image", "text")]
    pairs = [*whole, *_predictable(halves[: 2 * _HALVED], bundle)]
    return Reference(pairs, list(bundle.predict_many(pairs)), samples.labels, bundle.labels)


def measure(export: PairPredictor, reference: Reference) -> Measured:
    """Predicts with an export what its bundle has predicted."""
    ours, theirs = list(export.predict_many(reference.pairs)), reference.predictions
    same = [our.label == their.label for our, their in zip(ours, theirs, strict=True)]
    accuracy = None
    if reference.labels is not None:
        accuracy = _accuracy(ours, theirs, reference.labels, reference.classes)
    return Measured(
        pairs=len(reference.pairs),
        difference=float(np.abs(_numbers(ours) - _numbers(theirs)).max()),
        agreement=float(np.mean(same)),
        accuracy=accuracy,
    )


def wrong(measured: Measured, int8: bool) -> list[str]:
    """What an export was expected to do, and does not."""
    found: list[str] = []
    if not int8:
        if not measured.difference <= TOLERANCE:
            found.append(f"expected differences of {TOLERANCE:.0e} or less")
        return found
    if measured.agreement < AGREEMENT:
        found.append(f"expected the same label for {AGREEMENT:.0%} or more")
    own = measured.accuracy
    if own is not None and not own.low <= own.export <= own.high:
        found.append("expected an accuracy within the bundle's interval")
    return found


def check(measured: Measured, int8: bool, lowered: Sequence[str]) -> None:
    """Refuses an export that says something else than its bundle.

    Args:
        measured: the figures.
        int8: whether the export's weights are.
        lowered: the precisions other than `fp32` that the bundle's encoders compute in.

    Raises:
        UserError: a figure is beyond its bound; the message has all of them.
    """
    found = wrong(measured, int8)
    remedy = "export without --int8" if int8 else "use the bundle, and please report it"
    if lowered and not int8:
        remedy = (
            f"its encoders compute in {' and '.join(lowered)}, an export computes in fp32: train with "
            "backbone.precision=fp32"
        )
    if found:
        raise UserError(
            f"export: refused: {measured.told()}: {' and '.join(found)}: {remedy}; nothing was written"
        )


def _predictable(pairs: Sequence[Pair], predictor: PairPredictor) -> list[Pair]:
    """Those that have something that the model reads."""
    answers = zip(pairs, predictor.check_many(pairs), strict=True)
    return [pair for pair, problem in answers if problem is None]


def _numbers(found: Sequence[Prediction]) -> np.ndarray:
    return np.array(
        [
            [*each.probabilities.values(), *(asdict(each)[name] for name in _FIGURES)]
            for each in found
        ]
    )


def _accuracy(
    ours: Sequence[Prediction],
    theirs: Sequence[Prediction],
    labels: Sequence[str],
    classes: Sequence[str],
) -> Accuracy:
    """Of the whole pairs, which stand first."""
    place = {label: number for number, label in enumerate(classes)}

    def places(found: Sequence[str]) -> ClassIndices:
        return np.array([place[each] for each in found])

    targets = places(labels)
    export, bundle = (
        places([each.label for each in found[: len(labels)]]) for found in (ours, theirs)
    )
    drawn = bootstrap.scores(targets, bundle[None], len(classes), _INTERVAL, seed=0)
    interval = bootstrap.interval(drawn["accuracy"][:, 0], _INTERVAL.level)
    return Accuracy(
        export=float((export == targets).mean()),
        bundle=float((bundle == targets).mean()),
        low=interval.low,
        high=interval.high,
    )
