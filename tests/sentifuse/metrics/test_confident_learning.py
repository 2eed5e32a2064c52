"""Tests of confident learning, on examples that are worked out by hand and on planted noise."""

import numpy as np
import pytest

from sentifuse.metrics import confident_learning
from sentifuse.metrics.confident_learning import estimate, margins, suggested

# Thresholds: (.9 + .8 + .1) / 3 = .6 for class 0, and (.7 + .6 + .2) / 3 = .5 for class 1.
FIRST = np.array([0.9, 0.8, 0.1, 0.3, 0.4, 0.8])
TWO = np.column_stack([FIRST, 1 - FIRST])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_two_classes_by_hand() -> None:
    assert suggested(TWO, LABELS).tolist() == [0, 0, 1, 1, 1, 0]
    found = estimate(TWO, LABELS)
    assert found.wrong == pytest.approx(2 / 6)
    np.testing.assert_allclose(found.matrix, [[2 / 3, 1 / 3], [1 / 3, 2 / 3]])


def test_samples_that_the_model_is_not_sure_of_are_taken_to_be_like_the_others() -> None:
    # The threshold of class 0 falls to .5875; .55 and .45 reach neither.
    probabilities = np.vstack([TWO, [[0.55, 0.45]]])
    targets = np.append(LABELS, 0)
    assert suggested(probabilities, targets)[-1] == 0, "the label stays"
    # Of the labels of class 0, four now, a third is wrong; of the three of class 1, too.
    found = estimate(probabilities, targets)
    assert found.wrong == pytest.approx((4 / 3 + 1) / 7)
    np.testing.assert_allclose(
        found.matrix, [[(8 / 3) / (11 / 3), 1 / (11 / 3)], [(4 / 3) / (10 / 3), 2 / (10 / 3)]]
    )


def test_a_rare_class_has_a_lower_threshold() -> None:
    # Class 2 never gets more than .4, which is a lot for it. The last sample's likeliest class is 0.
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.3, 0.4, 0.3], [0.6, 0.0, 0.4]]
    )
    assert suggested(probabilities, np.array([0, 0, 1, 2, 0])).tolist() == [0, 0, 1, 2, 2]


def test_of_several_classes_that_it_is_sure_of_the_likeliest_counts() -> None:
    probabilities = np.array(
        [[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.15, 0.35, 0.5], [0.3, 0.25, 0.45]]
    )
    # Thresholds .3, .3 and .5: the last sample is above two of them.
    assert suggested(probabilities, np.array([0, 1, 2, 0]))[0] == 0
    own = np.array([[0.4, 0.6], [0.6, 0.4], [0.5, 0.5]])
    assert suggested(own, np.array([0, 1, 0])).tolist() == [1, 0, 0]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_equal_probabilities_are_no_lower_than_their_mean(count: int) -> None:
    # 0.1 * 3 / 3 is not 0.1.
    probabilities = np.tile([0.1, 0.9], (count, 1))
    found = estimate(probabilities, np.zeros(count, dtype=np.int64))
    assert found.wrong == 0.0
    assert found.matrix[0].tolist() == [1.0, 0.0]
    assert np.isnan(found.matrix[1]).all()


def test_weights_count_as_so_many_copies() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], size=60)
    targets = rng.integers(3, size=60)
    weights = rng.integers(4, size=60)
    copies = np.repeat(np.arange(60), weights)
    weighed = estimate(probabilities, targets, weights)
    copied = estimate(probabilities[copies], targets[copies])
    assert weighed.wrong == pytest.approx(copied.wrong)
    np.testing.assert_allclose(weighed.matrix, copied.matrix)


def test_a_class_without_labels_is_suggested_to_nobody() -> None:
    probabilities = np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.1, 0.6, 0.3]])
    targets = np.array([0, 0, 1])
    assert 2 not in suggested(probabilities, targets)
    assert np.isnan(estimate(probabilities, targets).matrix[2]).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25])
def test_planted_noise_is_estimated_where_the_model_is_good(share: float) -> None:
    rng = np.random.default_rng(1)
    true = rng.choice(3, size=6000, p=[0.6, 0.3, 0.1])
    logits = 4 * np.eye(3)[true] + 0.8 * rng.standard_normal((6000, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = rng.random(6000) < share
    # Class 1 is mistaken for 2 only, the others for the next one.
    given = np.where(flipped, (true + 1) % 3, true)
    found = estimate(probabilities, given)
    assert found.wrong == pytest.approx(flipped.mean(), abs=0.01)
    expected = (1 - share) * np.eye(3) + share * np.roll(np.eye(3), 1, axis=1)
    np.testing.assert_allclose(found.matrix, expected, atol=0.06)
    doubted = suggested(probabilities, given) != given
    assert (doubted == flipped).mean() > 0.98


def test_the_margin_is_that_to_the_likeliest_other_class() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
    assert margins(probabilities, np.array([0, 2])).tolist() == pytest.approx([0.2, -0.3])
    assert probabilities[0, 0] == 0.5, "the argument is left as it is"


def test_the_threshold_is_the_mean_over_the_samples_of_the_label() -> None:
    found = confident_learning._thresholds(TWO, LABELS, None)
    np.testing.assert_allclose(found, [0.6, 0.5])
