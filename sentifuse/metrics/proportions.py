"""Shares of independent samples: how sure they are, and whether two of them differ.

All of it holds for few samples, too, and where none or all of them are hits.
"""

from math import hypot

from sentifuse.metrics.bootstrap import Interval

# Hits, and samples in all.
Share = tuple[int, int]


def wilson(share: Share, level: float) -> Interval:
    """The score interval of a share of one or more samples (Wilson 1927); `level` is 0..1."""
    from scipy.stats import binomtest

    around = binomtest(*share).proportion_ci(level, method="wilson")
    return Interval(float(around.low), float(around.high))


def difference(one: Share, other: Share, level: float) -> Interval:
    """The interval of the share `one` minus the share `other`, which have no sample in common.

    It is made of the score interval of each (Newcombe 1998, "Interval estimation for the difference between
    independent proportions", method 10).
    """
    p, q = one[0] / one[1], other[0] / other[1]
    of_p, of_q = wilson(one, level), wilson(other, level)
    return Interval(
        p - q - hypot(p - of_p.low, of_q.high - q), p - q + hypot(of_p.high - p, q - of_q.low)
    )


def p_value(one: Share, other: Share) -> float:
    """The two-sided p-value of no difference between such shares: Fisher's exact test (Fisher 1935)."""
    from scipy.stats import fisher_exact

    table = [[hits, total - hits] for hits, total in (one, other)]
    return float(fisher_exact(table).pvalue)
