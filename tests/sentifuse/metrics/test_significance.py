"""Tests of the paired tests: on simulated learning, they find what is there and nothing else."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sentifuse.config.recipe import IntervalOptions
from sentifuse.metrics.scores import HEADLINE, headline, summary
from sentifuse.metrics.significance import Difference, corrected_t_test, holm, over_samples

SPLITS = 10
# A simulated rate of .05 over 300 data sets has a standard deviation of .0126.
DATA_SETS = 300
SAMPLES, TEST = 200, 20
RATIO = TEST / (SAMPLES - TEST)
FEATURES = 4


@dataclass(frozen=True)
class Data:
    """Data sets with two sets of features each, normal around a mean for each of two classes.

    Attributes:
        targets: (N,), the same in each data set.
        first: (D, N, F).
        second: (D, N, F).
    """

    targets: NDArray[np.int64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


def draw(
    rng: np.random.Generator, samples: int, distances: tuple[float, float], data_sets: int
) -> Data:
    """`distances`: between the means of the classes in standard deviations, of either set."""
    targets = np.arange(samples) % 2
    sets = []
    for distance in distances:
        shift = distance * (targets - 0.5) / math.sqrt(FEATURES)
        sets.append(rng.standard_normal((data_sets, samples, FEATURES)) + shift[:, None])
    return Data(targets, *sets)


def nearest_centroid(
    features: NDArray[np.float64], targets: NDArray[np.int64], train: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Trains and applies J classifiers on each data set.

    Args:
        features: (D, N, F).
        targets: (N,), 0 or 1.
        train: (D, J, N), how often each sample is trained on.

    Returns:
        (D, J, N) classes of all samples.
    """
    means = [
        (train * (targets == label)) @ features / (train * (targets == label)).sum(-1)[..., None]
        for label in (0, 1)
    ]  # (D, J, F) each
    direction = means[1] - means[0]
    middle = (direction * (means[0] + means[1]) / 2).sum(-1)  # (D, J)
    found = direction @ features.swapaxes(1, 2) > middle[..., None]
    return found.astype(np.int64)


def differences_over_splits(distances: tuple[float, float]) -> NDArray[np.float64]:
    """(D, J): how much more accurate the first classifier is on each random split."""
    rng = np.random.default_rng(5)
    data = draw(rng, SAMPLES, distances, DATA_SETS)
    order = rng.random((DATA_SETS, SPLITS, SAMPLES)).argsort(axis=-1)
    test = order < TEST
    train = (~test).astype(np.float64)
    right = [
        nearest_centroid(features, data.targets, train) == data.targets
        for features in (data.first, data.second)
    ]
    gain = right[0].astype(np.float64) - right[1]
    return (gain * test).sum(axis=-1) / TEST


def rate(differences: NDArray[np.float64], ratio: float) -> float:
    """The share of data sets on which the test rejects at 5 %."""
    found = [corrected_t_test(each, ratio, 0.95).p_value for each in differences]
    return float(np.mean([p is not None and p < 0.05 for p in found]))


# Over splits


def test_over_splits_no_difference_is_found_where_there_is_none() -> None:
    # Two sets of features that tell the same: which of them is better is chance.
    null = differences_over_splits((1.5, 1.5))
    corrected = rate(null, RATIO)
    assert corrected <= 0.09
    # Splits share most of their training samples, and the plain t-test takes them for independent.
    assert rate(null, 0.0) > max(0.1, 2 * corrected)


def test_over_splits_a_planted_difference_is_found() -> None:
    planted = differences_over_splits((2.6, 0.8))
    assert rate(planted, RATIO) > 0.9
    found = [corrected_t_test(each, RATIO, 0.95) for each in planted]
    assert np.mean([each.mean for each in found]) > 0.15
    assert all(each.mean > 0 for each in found if each.p_value is not None and each.p_value < 0.05)


def test_the_formula_by_hand() -> None:
    found = corrected_t_test(np.array([0.01, 0.03, -0.01]), 0.125, 0.95)
    # Mean .01; variance (0 + .0004 + .0004) / 2; 1/3 + 1/8 = 11/24.
    error = math.sqrt(0.0004 * 11 / 24)
    t = 0.01 / error
    assert found == Difference(
        mean=pytest.approx(0.01),
        standard_error=pytest.approx(error),
        # With two degrees of freedom: the quantile .975, and P(|T| > t) = 1 - t / sqrt(2 + t^2).
        low=pytest.approx(0.01 - 4.302653 * error),
        high=pytest.approx(0.01 + 4.302653 * error),
        p_value=pytest.approx(1 - t / math.sqrt(2 + t * t)),
        wins=2,
        pairs=3,
    )


def test_without_a_correction_it_is_the_paired_t_test() -> None:
    from scipy import stats

    differences = np.random.default_rng(0).normal(0.02, 0.05, size=10)
    found = corrected_t_test(differences, 0.0, 0.9)
    expected = stats.ttest_1samp(differences, 0.0)
    around = expected.confidence_interval(0.9)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((around.low, around.high))


def test_the_other_way_round_only_the_sign_changes() -> None:
    differences = np.random.default_rng(0).normal(0.02, 0.05, size=10)
    one, other = (corrected_t_test(sign * differences, 0.1, 0.95) for sign in (1, -1))
    assert other.mean == pytest.approx(-one.mean)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert other.p_value == pytest.approx(one.p_value)
    assert other.wins == 10 - one.wins


def test_a_level_at_which_the_interval_ends_at_zero_is_one_minus_the_p_value() -> None:
    differences = np.array([0.01, 0.03, -0.01, 0.02])
    p = corrected_t_test(differences, 0.1, 0.95).p_value
    assert p is not None
    assert corrected_t_test(differences, 0.1, 1 - p).low == pytest.approx(0, abs=1e-12)


def test_one_pair_tells_nothing_of_its_error() -> None:
    found = corrected_t_test(np.array([0.25]), 0.1, 0.95)
    assert found == Difference(0.25, None, None, None, None, wins=1, pairs=1)


@pytest.mark.parametrize(("value", "p", "wins"), [(0.0, 1.0, 0), (0.25, 0.0, 4), (-0.25, 0.0, 0)])
def test_pairs_that_all_differ_by_the_same_have_no_error(value: float, p: float, wins: int) -> None:
    found = corrected_t_test(np.full(4, value), 0.1, 0.95)
    assert found == Difference(value, 0.0, value, value, p, wins=wins, pairs=4)


# Over samples

RUNS, LARGE = 3, 1000


def over_one_split(distances: tuple[float, float], data_sets: int) -> list[Difference]:
    """Differences in accuracy of classifiers trained on resamples of one large training part."""
    rng = np.random.default_rng(9)
    data = draw(rng, LARGE + 200, distances, data_sets)
    train = np.zeros((data_sets, RUNS, LARGE + 200))
    train[..., :LARGE] = rng.poisson(1.0, size=(data_sets, RUNS, LARGE))
    first, second = (
        nearest_centroid(features, data.targets, train)[..., LARGE:]
        for features in (data.first, data.second)
    )
    targets = data.targets[LARGE:]
    return [
        over_samples(targets, pair, 2, summary, interval=IntervalOptions(0.95, 300), seed=seed)[
            "accuracy"
        ]
        for seed, pair in enumerate(np.stack([first, second], axis=1))
    ]


def rejected(found: list[Difference]) -> float:
    return float(np.mean([each.p_value is not None and each.p_value < 0.05 for each in found]))


def test_over_samples_no_difference_is_found_where_there_is_none() -> None:
    found = over_one_split((1.5, 1.5), 250)
    assert rejected(found) <= 0.09
    # The interval agrees with the p-value, which may be a little larger (it is never 0).
    inside = np.mean([each.low <= 0 <= each.high for each in found])
    assert 0.91 <= inside <= 1.0


def test_over_samples_a_planted_difference_is_found() -> None:
    found = over_one_split((2.2, 1.2), 60)
    assert rejected(found) > 0.9
    assert all(each.mean > 0 for each in found)


def test_over_samples_the_mean_is_that_of_the_runs_as_they_are() -> None:
    rng = np.random.default_rng(1)
    targets = rng.integers(3, size=40)
    pairs = rng.integers(3, size=(2, 4, 40))
    found = over_samples(targets, pairs, 3, summary, interval=IntervalOptions(0.9, 200), seed=0)
    assert tuple(found) == HEADLINE
    for score in ("accuracy", "macro_f1"):
        gaps = [
            headline(targets, one, 3)[score] - headline(targets, other, 3)[score]
            for one, other in zip(*pairs, strict=True)
        ]
        own = found[score]
        assert own.mean == pytest.approx(np.mean(gaps))
        assert (own.wins, own.pairs) == (sum(gap > 0 for gap in gaps), 4)
        assert own.low is not None
        assert own.high is not None
        assert own.standard_error is not None
        assert own.low < own.mean < own.high
        # A normal interval of that error is about as wide.
        assert own.high - own.low == pytest.approx(2 * 1.645 * own.standard_error, rel=0.15)


def test_over_samples_runs_do_not_differ_from_themselves() -> None:
    rng = np.random.default_rng(1)
    targets, runs = rng.integers(3, size=30), rng.integers(3, size=(2, 30))
    same, options = np.stack([runs, runs]), IntervalOptions(0.95, 100)
    found = over_samples(targets, same, 3, summary, interval=options, seed=0)
    assert set(found.values()) == {Difference(0.0, 0.0, 0.0, 0.0, 1.0, wins=0, pairs=2)}


# Several comparisons

repeatable = settings(derandomize=True, deadline=None, database=None)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def corrected(p_values: list[float]) -> list[float]:
    family = {
        index: Difference(0.1, 0.1, 0.0, 0.2, p, wins=3, pairs=5)
        for index, p in enumerate(p_values)
    }
    found = holm(family)
    assert list(found) == list(family)
    return [each.p_holm for each in found.values() if each.p_holm is not None]


def test_the_correction_by_hand() -> None:
    assert corrected([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert corrected([0.04]) == [0.04]
    assert corrected([0.6, 0.7]) == [1.0, 1.0]


@repeatable
@given(P_VALUES)
def test_the_correction_is_monotone_never_below_raw_and_bonferronis_for_the_smallest(
    p_values: list[float],
) -> None:
    found = corrected(p_values)
    assert all(raw <= own <= 1 for raw, own in zip(p_values, found, strict=True))
    ordered = [own for _, own in sorted(zip(p_values, found, strict=True))]
    assert ordered == sorted(ordered)
    assert min(found) == min(1.0, len(p_values) * min(p_values))


@repeatable
@given(P_VALUES)
def test_the_correction_is_bonferronis_over_every_family_that_has_the_comparison(
    p_values: list[float],
) -> None:
    # The closure principle (Marcus, Peritz and Gabriel 1976): another way to the same numbers.
    places = range(len(p_values))
    families = [
        family for size in places for family in itertools.combinations(places, size + 1)
    ]  # every subset but the empty one
    for place, own in enumerate(corrected(p_values)):
        worst = max(
            len(family) * min(p_values[each] for each in family)
            for family in families
            if place in family
        )
        assert own == pytest.approx(min(1.0, worst))


def test_of_many_comparisons_without_a_difference_none_is_found_in_most_data_sets() -> None:
    draws = np.random.default_rng(3).random((2000, 8))
    raw = (draws.min(axis=1) < 0.05).mean()
    held = np.mean([min(corrected(list(each))) < 0.05 for each in draws])
    # 1 - .95 ** 8 is .34; a simulated rate of .05 has a standard deviation of .005.
    assert raw > 0.3
    assert 0.03 < held < 0.07


def test_one_pair_has_no_p_value_to_correct() -> None:
    one = Difference(0.1, None, None, None, None, wins=1, pairs=1)
    two = Difference(0.1, 0.1, 0.0, 0.2, 0.04, wins=3, pairs=5)
    found = holm({"one": one, "two": two})
    assert found["one"] == one
    assert found["two"].p_holm == 0.04
