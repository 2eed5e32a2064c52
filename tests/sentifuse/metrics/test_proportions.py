import numpy as np
import pytest
from scipy import stats

from sentifuse.metrics import proportions
from sentifuse.metrics.bootstrap import Interval


def test_wilson_s_interval_is_that_of_the_formula() -> None:
    hits, total, z = 17, 25, stats.norm.ppf(0.975)
    p = hits / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    reach = z * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    found = proportions.wilson((hits, total), 0.95)
    assert (found.low, found.high) == pytest.approx((centre - reach, centre + reach))


@pytest.mark.parametrize("hits", [0, 20])
def test_none_and_all_of_few_samples_still_have_an_interval(hits: int) -> None:
    found = proportions.wilson((hits, 20), 0.95)
    assert 0 <= found.low < found.high <= 1
    assert found.high - found.low > 0.1


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        # Newcombe 1998, table II: the examples (a), (c) and (h), to four digits.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 10), 0.6075, 1.0000),
    ],
)
def test_the_interval_of_a_difference_is_that_of_the_paper(
    one: proportions.Share, other: proportions.Share, low: float, high: float
) -> None:
    found = proportions.difference(one, other, 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    back = proportions.difference(other, one, 0.95)
    assert back == Interval(pytest.approx(-found.high), pytest.approx(-found.low))


def test_the_interval_of_a_difference_covers_the_true_one() -> None:
    rng = np.random.default_rng(0)
    p, q, runs = 0.6, 0.75, 400
    covered = 0
    for one, other in zip(rng.binomial(25, p, runs), rng.binomial(150, q, runs), strict=True):
        found = proportions.difference((int(one), 25), (int(other), 150), 0.9)
        covered += found.low <= p - q <= found.high
    assert 0.87 <= covered / runs <= 0.95


def test_the_p_value_is_exact() -> None:
    # The lady tasting tea (Fisher 1935): 3 of 4 right, and 1 of 4: 34 of 70 outcomes are as unlikely.
    assert proportions.p_value((3, 4), (1, 4)) == pytest.approx(34 / 70)
    assert proportions.p_value((4, 4), (0, 4)) == pytest.approx(2 / 70)
    assert proportions.p_value((10, 20), (50, 100)) == 1


def test_without_a_difference_few_p_values_are_small() -> None:
    rng = np.random.default_rng(1)
    drawn = zip(rng.binomial(30, 0.7, 300), rng.binomial(170, 0.7, 300), strict=True)
    found = [proportions.p_value((int(one), 30), (int(other), 170)) for one, other in drawn]
    assert np.mean(np.array(found) < 0.05) <= 0.06
