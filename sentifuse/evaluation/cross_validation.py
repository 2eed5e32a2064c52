"""What a recipe reaches over folds: each test part is predicted by a model that was not trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sentifuse.config.recipe import IntervalOptions
from sentifuse.metrics import bootstrap, significance
from sentifuse.metrics.scores import COMPARED, HEADLINE, Floats, scores

if TYPE_CHECKING:
    # It loads torch, which a pipeline with one split does not need here.
    from sentifuse.training.trial import Trial

NOTE = "one split: there are no folds to train on (split.folds, split.file)"
_COLUMNS = ["fold", "train_samples", "test_samples", *COMPARED]


def predictions(trials: "Sequence[Trial]", labels: Sequence[str]) -> pd.DataFrame:
    """One row per fold and sample of its test part: `fold`, `guid`, `label`, `predicted`, and `p_<label>` for
    each class. `trials` has one for each fold."""
    rows = [
        (fold, guid, labels[target], labels[best], *own)
        for fold, trial in enumerate(trials)
        for guid, target, best, own in zip(
            trial.guids, trial.targets, trial.predicted, trial.probabilities, strict=True
        )
    ]
    columns = ["fold", "guid", "label", "predicted", *(f"p_{label}" for label in labels)]
    return pd.DataFrame(rows, columns=columns)


def by_fold(trials: "Sequence[Trial]", labels: Sequence[str]) -> pd.DataFrame:
    """One row per fold: `fold`, `train_samples`, `test_samples`, and `COMPARED` on its test part, 0..1."""
    rows = []
    for fold, trial in enumerate(trials):
        own = scores(trial.targets, trial.predicted, labels)
        sizes = {"train_samples": trial.train_samples, "test_samples": own["samples"]}
        rows.append({"fold": fold, **sizes, **{score: own[score] for score in COMPARED}})
    return pd.DataFrame(rows, columns=_COLUMNS)


def measure(
    table: pd.DataFrame,
    predicted: pd.DataFrame,
    labels: Sequence[str],
    interval: IntervalOptions,
    *,
    seed: int,
) -> dict[str, Any]:
    """The scores of every fold, over the folds, and of all predictions pooled.

    Args:
        table: what `by_fold` made, of two folds or more, or of none.
        predicted: what `predictions` made.
        labels: class names.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `by_fold`: fold -> its sizes and `COMPARED`. `over_folds`: for each of `COMPARED` the `mean`, the
        sample standard deviation `sd`, and the ends of an interval, and the `method` of that. `pooled`: the
        scores of `metrics.scores` over all test parts, each sample once, with an `interval` for each
        headline score. Without folds, a `note` only.
    """
    if table.empty:
        return {"note": NOTE}
    return {
        "by_fold": {str(row.pop("fold")): row for row in table.to_dict("records")},
        "over_folds": _over_folds(table, interval.level),
        "pooled": _pooled(predicted, labels, interval, seed),
    }


def told(found: Mapping[str, Any]) -> str:
    """What `measure` found, in one line for each score."""
    if "note" in found:
        return str(found["note"])
    over, pooled = found["over_folds"], found["pooled"]
    lines = [f"{len(found['by_fold'])} folds, {pooled['samples']} test samples"]
    for score in COMPARED:
        own, ends = over[score], pooled["interval"][score]
        lines.append(
            f"{score}: {own['mean']:.3f} +- {own['sd']:.3f} over folds ({own['low']:.3f} to "
            f"{own['high']:.3f}), pooled {pooled[score]:.3f} ({ends['low']:.3f} to {ends['high']:.3f})"
        )
    return "\n".join(lines)


def _over_folds(table: pd.DataFrame, level: float) -> dict[str, Any]:
    """The mean of each score, with the interval of the corrected resampled t-test.

    Folds share most of their training data, so that sd / sqrt(k) is too small an error of the mean. No
    estimate of it from the folds alone is without bias (Bengio and Grandvalet 2004, "No unbiased estimator
    of the variance of k-fold cross-validation"); this one is rather too large.
    """
    ratio = float((table["test_samples"] / table["train_samples"]).mean())
    out: dict[str, Any] = {"method": significance.CORRECTED_T}
    for score in COMPARED:
        values: Floats = table[score].to_numpy()
        around = significance.corrected_t_test(values, ratio, level)
        # With two or three folds it can be wider than all scores that there are.
        low, high = np.clip(np.array([around.low, around.high], dtype=np.float64), 0, 1)
        out[score] = {
            "mean": around.mean,
            "sd": float(np.std(values, ddof=1)),
            "low": float(low),
            "high": float(high),
        }
    return out


def _pooled(
    predicted: pd.DataFrame, labels: Sequence[str], interval: IntervalOptions, seed: int
) -> dict[str, Any]:
    """The interval is about other samples for these models: it resamples the test samples."""
    # Several folds of a published split may test a sample: one prediction of it counts.
    once = predicted.drop_duplicates("guid")
    number = {label: index for index, label in enumerate(labels)}
    targets, guesses = (
        np.array([number[name] for name in once[column]], dtype=np.int64)
        for column in ("label", "predicted")
    )
    drawn = bootstrap.scores(targets, guesses[None], len(labels), interval, seed)
    return {
        **scores(targets, guesses, labels),
        "interval": {
            name: asdict(bootstrap.interval(drawn[name][:, 0], interval.level)) for name in HEADLINE
        },
    }
