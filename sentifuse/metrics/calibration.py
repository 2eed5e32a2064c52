"""Whether confidence is to be trusted: temperature, calibration error, selective prediction.

Confidence is the probability of the predicted class, 0..1. Logits and probabilities are (N, C), targets
(N,) class indices, confidence and whether it is correct (N,), with N > 0 where nothing else is said.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.metrics.scores import ClassIndices, Floats
from sentifuse.metrics.softmax import softmax

# Without limits a fit on samples that are all right, or all wrong, would go to 0 or infinity.
TEMPERATURES = (0.2, 20.0)
# Columns of the tables.
RELIABILITY = ["low", "high", "samples", "confidence", "accuracy"]
RISK_COVERAGE = ["coverage", "risk", "min_confidence"]


def fit_temperature(logits: NDArray[np.float32], targets: ClassIndices) -> float:
    """The temperature T for which softmax(logits / T) has the least negative log-likelihood.

    One number for all classes: it changes confidence, never the predicted class (Guo et al. 2017,
    arXiv:1706.04599). The N samples were not trained on. T is within `TEMPERATURES`; 1 without samples.
    """
    from scipy.optimize import minimize_scalar

    if not len(targets):
        return 1.0

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(logits, float(np.exp(log_temperature))), targets)

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def log_loss(probabilities: Floats, targets: ClassIndices) -> float:
    """Mean negative log-likelihood of (N,) targets, in nats; a probability of 0 counts as 1e-300."""
    own = probabilities[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(own, 1e-300)).mean())


def brier_score(probabilities: Floats, targets: ClassIndices) -> float:
    """Mean squared distance of the probabilities from the one-hot target, 0..2 (Brier 1950)."""
    wanted = np.eye(probabilities.shape[1])[targets]
    return float(((probabilities - wanted) ** 2).sum(axis=1).mean())


def reliability(confidence: Floats, correct: NDArray[np.bool_], bins: int) -> pd.DataFrame:
    """Accuracy by confidence, in `bins` bins of equal width; empty bins are left out.

    Returns:
        Columns `low`, `high` (of the bin), `samples`, `confidence` and `accuracy` (their means).
    """
    # Not `linspace`, whose edges may lie a little below k / bins, so that k / bins is a bin too high.
    edges = np.arange(bins + 1) / bins
    # A bin holds its upper edge, so that a confidence of 1 is in the last one.
    of_sample = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    rows = []
    for index in np.unique(of_sample):
        own = of_sample == index
        means = confidence[own].mean(), correct[own].mean()
        rows.append((edges[index], edges[index + 1], int(own.sum()), *means))
    return pd.DataFrame(rows, columns=RELIABILITY)


def expected_calibration_error(table: pd.DataFrame) -> float:
    """ECE: mean |accuracy - confidence| over the samples of a `reliability` table (Naeini et al. 2015)."""
    gaps = (table["accuracy"] - table["confidence"]).abs()
    return float((gaps * table["samples"]).sum() / table["samples"].sum())


def risk_coverage(
    confidence: Floats, correct: NDArray[np.bool_], points: int = 200
) -> pd.DataFrame:
    """The error rate among the most confident share of samples, for every share.

    Samples of equal confidence are kept or left out together, as nothing orders them (El-Yaniv and Wiener
    2010; Geifman and El-Yaniv 2017, arXiv:1705.08500).

    Returns:
        Columns `coverage` and `risk`, each 0..1, and `min_confidence`, the threshold that gives them;
        coverage rises to 1. At most `points` rows, evenly spaced along the curve.
    """
    thresholds, kept, risk = _selective(confidence, correct)
    if len(kept) > points:
        picked = np.linspace(0, len(kept) - 1, points).round().astype(int)
        thresholds, kept, risk = thresholds[picked], kept[picked], risk[picked]
    columns = (kept / len(confidence), risk, thresholds)
    return pd.DataFrame(dict(zip(RISK_COVERAGE, columns, strict=True)))


def area_under_risk_coverage(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """AURC: the risk, averaged over all coverages; lower is better (Geifman et al., arXiv:1805.08206)."""
    _, kept, risk = _selective(confidence, correct)
    return float((risk * np.diff(kept, prepend=0)).sum() / len(confidence))


def _selective(
    confidence: Floats, correct: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Each confidence, in falling order; how many samples have at least that; their error rate."""
    thresholds, counts = np.unique(-confidence, return_counts=True)
    kept = np.cumsum(counts)
    errors = np.cumsum(~correct[np.argsort(-confidence, kind="stable")])[kept - 1]
    return -thresholds, kept, errors / kept
