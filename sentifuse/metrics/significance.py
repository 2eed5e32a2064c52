"""Whether two models differ: paired differences over repeated runs, with their uncertainty.

Runs over splits of their own share most of their training data, so their differences are not
independent and the plain t-test finds differences that are not there. `corrected_t_test` allows for it
(Nadeau and Bengio 2003, "Inference for the generalization error"). Runs on one split share their test
part, too; there `over_samples` resamples that part.
"""

from dataclasses import dataclass

import numpy as np

from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import ClassIndices, Floats, summary

CORRECTED_T = "corrected resampled t-test over splits (Nadeau and Bengio 2003)"
BOOTSTRAP = "paired stratified bootstrap over test samples (Efron and Tibshirani 1993)"


@dataclass(frozen=True)
class Difference:
    """A paired difference of one score, in its own unit.

    Attributes:
        mean: over the pairs of runs.
        standard_error: of the mean; None where one pair tells nothing of it.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
        p_value: two-sided, of no difference, or None.
        wins: pairs in which the first is better.
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
        differences: (J,), a pair of runs each.
        test_train_ratio: n_test / n_train of the splits.
        level: of the interval, 0..1.
    """
    from scipy import stats

    pairs, mean = len(differences), float(np.mean(differences))
    wins = int((differences > 0).sum())
    if pairs < 2:
        return Difference(mean, None, None, None, None, wins, pairs)
    error = float(np.std(differences, ddof=1) * np.sqrt(1 / pairs + test_train_ratio))
    if error == 0:
        # Every pair differs by the same: nothing to estimate a variance from.
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
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Tests the mean difference of J pairs of runs on one test part by resampling its samples.

    Args:
        targets: (N,) class indices.
        first: (J, N) predictions, a row a run.
        second: (J, N), its pair.
        classes: C.
        level: of the intervals, 0..1.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Score -> the difference first - second, for each score of `metrics.HEADLINE`.
    """
    pairs = len(first)
    both = np.concatenate([first, second])
    drawn = summary(
        bootstrap.resample(targets, both, classes, resamples=resamples, seed=seed)
    )  # (B, 2 J) each
    cells = targets * classes + both
    counts = np.stack([np.bincount(row, minlength=classes**2) for row in cells])
    plain = summary(counts.reshape(2 * pairs, classes, classes))  # (2 J,) each
    out = {}
    for name, values in drawn.items():
        means = (values[:, :pairs] - values[:, pairs:]).mean(axis=1)  # (B,)
        own = plain[name][:pairs] - plain[name][pairs:]  # (J,)
        around = bootstrap.interval(means, level)
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
