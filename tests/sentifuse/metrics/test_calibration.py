import numpy as np
import pandas as pd
import pytest
import scipy.special
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as log_loss_of_scikit_learn

from sentifuse.metrics import calibration
from sentifuse.metrics.scores import ClassIndices, Floats

Logits = NDArray[np.float32]


def calibrated(
    samples: int, temperature: float = 1.0, seed: int = 0
) -> tuple[Logits, ClassIndices]:
    """Logits of which softmax(logits / temperature) is the distribution of the targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, size=(samples, 3)).astype(np.float32)
    # The largest of logits with Gumbel noise has the probabilities of their softmax.
    targets = (logits / temperature + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return logits, targets


# Temperature


@pytest.mark.parametrize("planted", [0.3, 1.0, 4.0])
def test_a_planted_temperature_is_found(planted: float) -> None:
    found = calibration.fit_temperature(*calibrated(20_000, planted))
    assert found == pytest.approx(planted, rel=0.05)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, targets = calibrated(300, 2.5)
    found = calibration.fit_temperature(logits, targets)

    def loss(temperature: float) -> float:
        return calibration.log_loss(calibration.softmax(logits, temperature), targets)

    grid = np.geomspace(*calibration.TEMPERATURES, 2000)
    assert loss(found) <= min(map(loss, grid)) + 1e-9
    assert loss(found) < loss(1.0)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 3.0, 20.0])
def test_a_temperature_never_changes_the_predicted_class(temperature: float) -> None:
    logits, _ = calibrated(500)
    predicted = calibration.softmax(logits, temperature).argmax(axis=1)
    assert np.array_equal(predicted, logits.argmax(axis=1))


def test_samples_that_are_all_right_or_all_wrong_stop_at_the_bounds() -> None:
    logits, _ = calibrated(20)
    low, high = calibration.TEMPERATURES
    right = calibration.fit_temperature(logits, logits.argmax(axis=1))
    wrong = calibration.fit_temperature(logits, logits.argmin(axis=1))
    assert low <= right <= 1.01 * low
    assert 0.99 * high <= wrong <= high


def test_without_samples_the_temperature_is_one() -> None:
    none = np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)
    assert calibration.fit_temperature(*none) == 1.0


@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (0, 3)])
def test_probabilities_are_the_softmax_of_the_logits(shape: tuple[int, ...]) -> None:
    logits = np.random.default_rng(0).normal(0, 3, size=shape).astype(np.float32)
    found = calibration.softmax(logits, 2.0)
    assert found.dtype == np.float64
    expected = scipy.special.softmax(logits.astype(np.float64) / 2.0, axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-12)


def test_large_logits_do_not_overflow() -> None:
    found = calibration.softmax(np.array([[3e4, 0, -3e4]], dtype=np.float32), 0.05)
    assert found.tolist() == [[1.0, 0.0, 0.0]]


# Scores of probabilities


def test_losses_are_those_of_scikit_learn() -> None:
    logits, targets = calibrated(200)
    probabilities = calibration.softmax(logits)
    assert calibration.log_loss(probabilities, targets) == pytest.approx(
        log_loss_of_scikit_learn(targets, probabilities, labels=range(3))
    )
    of_classes = [brier_score_loss(targets == label, probabilities[:, label]) for label in range(3)]
    assert calibration.brier_score(probabilities, targets) == pytest.approx(sum(of_classes))


def test_what_was_ruled_out_costs_much_and_not_infinitely_much() -> None:
    probabilities, targets = np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([1, 0])
    expected = (300 * np.log(10) + np.log(2)) / 2
    assert calibration.log_loss(probabilities, targets) == pytest.approx(expected)


def test_a_brier_score_is_from_zero_to_two() -> None:
    probabilities = np.array([[1.0, 0.0, 0.0]])
    assert calibration.brier_score(probabilities, np.array([0])) == 0
    assert calibration.brier_score(probabilities, np.array([2])) == 2


# Reliability

CONFIDENCE = np.array([0.95, 0.9, 0.85, 0.55, 0.35, 0.25])
CORRECT = np.array([True, True, False, True, False, False])


def test_reliability_by_hand() -> None:
    found = calibration.reliability(CONFIDENCE, CORRECT, 5)
    expected = pd.DataFrame(
        [
            (0.2, 0.4, 2, 0.3, 0.0),
            (0.4, 0.6, 1, 0.55, 1.0),
            (0.8, 1.0, 3, 0.9, 2 / 3),
        ],
        columns=["low", "high", "samples", "confidence", "accuracy"],
    )
    pd.testing.assert_frame_equal(found, expected)


def test_the_calibration_error_by_hand() -> None:
    table = calibration.reliability(CONFIDENCE, CORRECT, 5)
    # Gaps .3 of two, .45 of one, .9 - 2/3 of three samples.
    expected = (2 * 0.3 + 1 * 0.45 + 3 * (0.9 - 2 / 3)) / 6
    assert calibration.expected_calibration_error(table) == pytest.approx(expected)


@pytest.mark.parametrize("bins", [1, 5, 7, 10, 12, 15, 49])
def test_a_bin_holds_its_upper_edge_and_not_its_lower_one(bins: int) -> None:
    edges = np.array([upper / bins for upper in range(1, bins + 1)])
    table = calibration.reliability(edges, np.ones(bins, dtype=bool), bins)
    assert table["samples"].tolist() == [1] * bins
    assert table["high"].tolist() == table["confidence"].tolist() == edges.tolist()
    above = calibration.reliability(np.nextafter(edges[:-1], 1), np.ones(bins - 1, bool), bins)
    assert above["low"].tolist() == edges[:-1].tolist()


def test_certainty_and_its_contrary_are_in_the_outer_bins() -> None:
    table = calibration.reliability(np.array([0.0, 1.0]), np.array([False, True]), 5)
    assert table["low"].tolist() == [0.0, 0.8]


def test_a_calibrated_model_has_a_small_error_and_an_overconfident_one_a_large_one() -> None:
    logits, targets = calibrated(20_000, 2.0)

    def error(temperature: float) -> float:
        probabilities = calibration.softmax(logits, temperature)
        correct = probabilities.argmax(axis=1) == targets
        table = calibration.reliability(probabilities.max(axis=1), correct, 15)
        return calibration.expected_calibration_error(table)

    # The error of an accuracy over some 1,700 samples a bin is about .01.
    assert error(2.0) < 0.012
    assert error(1.0) > 0.1
    assert error(calibration.fit_temperature(logits, targets)) < 0.015


# Risk and coverage


def test_risk_and_coverage_by_hand() -> None:
    found = calibration.risk_coverage(CONFIDENCE, CORRECT)
    assert list(found) == ["coverage", "risk", "min_confidence"]
    assert found["coverage"].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert found["risk"].tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5, 3 / 6])
    assert found["min_confidence"].tolist() == CONFIDENCE.tolist()


def test_equal_confidences_are_kept_or_left_out_together() -> None:
    found = calibration.risk_coverage(
        np.array([0.5, 0.9, 0.5, 0.5]), np.array([True, True, False, True])
    )
    assert found["coverage"].tolist() == [0.25, 1.0]
    assert found["risk"].tolist() == [0.0, 0.25]
    assert found["min_confidence"].tolist() == [0.9, 0.5]


def simulated(samples: int, digits: int) -> tuple[Floats, NDArray[np.bool_]]:
    rng = np.random.default_rng(3)
    confidence = rng.uniform(0.3, 1.0, size=samples).round(digits)
    return confidence, rng.random(samples) < confidence


@pytest.mark.parametrize("digits", [2, 12])
def test_a_threshold_gives_the_coverage_and_the_risk_that_stand_beside_it(digits: int) -> None:
    confidence, correct = simulated(700, digits)
    found = calibration.risk_coverage(confidence, correct, points=50)
    assert len(found) == 50
    for coverage, risk, threshold in found.itertuples(index=False):
        kept = confidence >= threshold
        assert coverage == pytest.approx(kept.mean())
        assert risk == pytest.approx(1 - correct[kept].mean())
    assert (np.diff(found["coverage"]) > 0).all()
    assert (np.diff(found["min_confidence"]) < 0).all()


@pytest.mark.parametrize("points", [2, 3, 199, 200, 300])
def test_a_thinned_curve_keeps_its_ends(points: int) -> None:
    confidence, correct = simulated(200, 12)
    whole = calibration.risk_coverage(confidence, correct, points=200)
    found = calibration.risk_coverage(confidence, correct, points=points)
    assert len(whole) == 200
    assert len(found) == min(points, 200)
    assert found.iloc[0].tolist() == whole.iloc[0].tolist()
    assert found.iloc[-1].tolist() == whole.iloc[-1].tolist()
    assert found["coverage"].iloc[-1] == 1.0


def test_the_area_by_hand() -> None:
    # Every sample adds a step of 1/6, so this is the mean of the risks.
    expected = (0 + 0 + 1 / 3 + 1 / 4 + 2 / 5 + 3 / 6) / 6
    assert calibration.area_under_risk_coverage(CONFIDENCE, CORRECT) == pytest.approx(expected)
    # With three of four alike: a quarter at risk 0, three quarters at 1/4.
    tied = np.array([0.5, 0.9, 0.5, 0.5]), np.array([True, True, False, True])
    assert calibration.area_under_risk_coverage(*tied) == pytest.approx(0.75 * 0.25)


def test_without_ties_the_area_is_the_mean_risk() -> None:
    confidence, correct = simulated(300, 12)
    mean = calibration.risk_coverage(confidence, correct, points=300)["risk"].mean()
    assert calibration.area_under_risk_coverage(confidence, correct) == pytest.approx(mean)


def test_confidence_that_tells_nothing_has_the_area_of_the_error_rate() -> None:
    _, correct = simulated(300, 12)
    flat = calibration.area_under_risk_coverage(np.full(300, 0.7), correct)
    assert flat == pytest.approx(1 - correct.mean())
    assert calibration.area_under_risk_coverage(correct.astype(float), correct) < flat
    assert calibration.area_under_risk_coverage(-correct.astype(float), correct) > flat
