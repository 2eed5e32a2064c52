"""Whether two models differ: paired differences over repeated runs, with their uncertainty.

Runs over different splits still share most of their training data. Their differences are not independent,
and the plain t-test finds differences that are not there; `corrected_t_test` corrects for it (Nadeau and
Bengio 2003, "Inference for the generalization error"). Runs on one split share their test part, too;
there `over_samples` resamples that part. Of many comparisons some look like a difference by chance;
`holm` corrects for their number.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentifuse.config.recipe import IntervalOptions
from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import ClassIndices, Floats, confusion

CORRECTED_T = "corrected resampled t-test over splits (Nadeau and Bengio 2003)"
BOOTSTRAP = "paired stratified bootstrap over test samples (Efron and Tibshirani 1993)"

Key = TypeVar("Key", bound=Hashable)
# Confusion matrices (..., C, C) -> the scores of each, (...,).
Measure = Callable[[NDArray[Any]], Mapping[Key, Floats]]


@dataclass(frozen=True)
class Difference:
    """A paired difference of one score, in its own unit.

    Attributes:
        mean: over the pairs of runs.
        standard_error: of the mean; like the next three None where there is one pair only.
        low: lower end of the interval.
        high: upper end of the interval.
        p_value: two-sided, of no difference.
        p_holm: the same, corrected for the number of comparisons (`holm`); None where it is not.
        wins: pairs in which the first run is better.
        pairs: how many there are.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    p_value: float | None
    p_holm: float | None = field(default=None, kw_only=True)
    wins: int
    pairs: int


def corrected_t_test(differences: Floats, test_train_ratio: float, level: float) -> Difference:
    """Tests the mean of `differences` over J random splits.

    Their variance over splits is multiplied by 1/J + n_test / n_train in place of 1/J.

    Args:
        differences: (J,), one per pair of runs.
        test_train_ratio: n_test / n_train.
        level: of the interval, 0..1.
    """
    from scipy import stats

    pairs, mean = len(differences), float(np.mean(differences))
    wins = int((differences > 0).sum())
    if pairs < 2:
        return Difference(mean, None, None, None, None, wins, pairs)
    error = float(np.std(differences, ddof=1) * np.sqrt(1 / pairs + test_train_ratio))
    if error == 0:
        # All differences are equal: there is no variance to estimate.
        return Difference(mean, 0.0, mean, mean, 1.0 if mean == 0 else 0.0, wins, pairs)
    reach = float(stats.t.ppf((1 + level) / 2, pairs - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, pairs - 1))
    return Difference(mean, error, mean - reach, mean + reach, p, wins, pairs)


def over_samples(
    targets: ClassIndices,
    runs: ClassIndices,
    classes: int,
    measure: Measure[Key],
    *,
    interval: IntervalOptions,
    seed: int,
) -> dict[Key, Difference]:
    """Tests the mean difference of J pairs of runs on one test part by resampling its samples.

    Args:
        targets: (N,) class indices.
        runs: (2, J, N) predictions: the first run of each pair, and the second.
        classes: C.
        measure: what to score.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Score -> the difference first - second.
    """
    pairs = runs.shape[1]
    both = np.concatenate(runs)
    counts = bootstrap.resample(targets, both, classes, resamples=interval.resamples, seed=seed)
    drawn = measure(counts)  # (B, 2 J) each
    plain = measure(np.stack([confusion(targets, run, classes) for run in both]))  # (2 J,) each
    out = {}
    for name, values in drawn.items():
        means = (values[:, :pairs] - values[:, pairs:]).mean(axis=1)  # (B,)
        own = plain[name][:pairs] - plain[name][pairs:]  # (J,)
        around = bootstrap.interval(means, interval.level)
        out[name] = Difference(
            mean=float(own.mean()),
            standard_error=float(means.std(ddof=1)),
            low=around.low,
            high=around.high,
            p_value=bootstrap.p_value(means),
            wins=int((own > 0).sum()),
            pairs=pairs,
        )
    return out


def holm(family: Mapping[Key, Difference]) -> dict[Key, Difference]:
    """Corrects the p-values of `family`, where they are known, for the number of its comparisons.

    They are corrected as `holm_p_values` does it. Intervals stay as they are: each holds for its comparison
    alone.
    """
    raw = {key: each.p_value for key, each in family.items() if each.p_value is not None}
    corrected = holm_p_values(raw)
    return {key: replace(each, p_holm=corrected.get(key)) for key, each in family.items()}


def holm_p_values(raw: Mapping[Key, float]) -> dict[Key, float]:
    """The p-values of a family of comparisons, corrected for their number.

    The chance that one below 0.05 belongs to a comparison without a difference is at most 5 %, whatever the
    others are, and however all depend on each other. The i-th smallest of m p-values is multiplied by
    m - i + 1; the product is at most 1, and no smaller than that of a smaller p-value (Holm 1979, "A simple
    sequentially rejective multiple test procedure").
    """
    out: dict[Key, float] = {}
    least = 0.0
    for place, key in enumerate(sorted(raw, key=raw.__getitem__)):
        least = max(least, min(1.0, (len(raw) - place) * raw[key]))
        out[key] = least
    return out
