"""Whether two models differ: paired differences over repeated runs, with their uncertainty.

Runs over different splits still share most of their training data. Their differences are not independent,
and the plain t-test finds differences that are not there; `corrected_t_test` corrects for it (Nadeau and
Bengio 2003, "Inference for the generalization error"). Runs on one split share their test part, too;
there `over_samples` resamples that part.
"""

from dataclasses import dataclass

import numpy as np

from sentifuse.config.recipe import IntervalOptions
from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import ClassIndices, Floats, confusion, summary

CORRECTED_T = "corrected resampled t-test over splits (Nadeau and Bengio 2003)"
BOOTSTRAP = "paired stratified bootstrap over test samples (Efron and Tibshirani 1993)"


@dataclass(frozen=True)
class Difference:
    """A paired difference of one score, in its own unit.

    Attributes:
        mean: over the pairs of runs.
        standard_error: of the mean; like the next three None where there is one pair only.
        low: lower end of the interval.
        high: upper end of the interval.
        p_value: two-sided, of no difference.
        wins: pairs in which the first run is better.
        pairs: how many there are.
    """

    mean: float
    standard_error: float | None
    low: float | None
    high: float | None
    p_value: float | None
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
    first: ClassIndices,
    second: ClassIndices,
    classes: int,
    *,
    interval: IntervalOptions,
    seed: int,
) -> dict[str, Difference]:
    """Tests the mean difference of J pairs of runs on one test part by resampling its samples.

    Args:
        targets: (N,) class indices.
        first: (J, N) predictions, one row per run.
        second: (J, N), the other run of each pair.
        classes: C.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Score -> the difference first - second, for each score of `metrics.scores.HEADLINE`.
    """
    pairs = len(first)
    both = np.concatenate([first, second])
    drawn = bootstrap.scores(targets, both, classes, interval, seed)  # (B, 2 J) each
    plain = summary(np.stack([confusion(targets, run, classes) for run in both]))  # (2 J,) each
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
