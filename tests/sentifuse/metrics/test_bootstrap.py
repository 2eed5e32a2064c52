"""Tests of resampling: against a plain loop over samples, and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import confusion, summary

Labels = NDArray[np.int64]


def made(seed: int = 0, samples: int = 90, models: int = 2) -> tuple[Labels, Labels]:
    """Targets of unequal classes, and models that are right three times out of four."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(3, size=samples, p=[0.3, 0.1, 0.6])
    right = rng.random((models, samples)) < 0.75
    return targets, np.where(right, targets, rng.integers(3, size=(models, samples)))


def naive(targets: Labels, predictions: Labels, resamples: int, seed: int) -> Labels:
    """Draws indices with replacement within each class, and counts."""
    rng = np.random.default_rng(seed)
    out = np.empty((resamples, len(predictions), 3, 3), dtype=np.int64)
    own = [np.flatnonzero(targets == label) for label in range(3)]
    for row in range(resamples):
        drawn = np.concatenate([rng.choice(rows, size=len(rows)) for rows in own])
        for place, answers in enumerate(predictions):
            out[row, place] = confusion(targets[drawn], answers[drawn], 3)
    return out


def test_every_resample_has_as_many_samples_of_each_class_as_the_part() -> None:
    targets, predictions = made()
    drawn = bootstrap.resample(targets, predictions, 3, resamples=50, seed=1)
    assert drawn.shape == (50, 2, 3, 3)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert np.array_equal(
        drawn.sum(axis=-1), np.broadcast_to(np.bincount(targets, minlength=3), (50, 2, 3))
    )
    assert len(np.unique(drawn.reshape(50, -1), axis=0)) > 40


def test_the_same_seed_gives_the_same_resamples_and_another_one_others() -> None:
    first, again, other = (
        bootstrap.resample(*made(), 3, resamples=20, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_drawing_patterns_is_drawing_samples() -> None:
    targets, predictions = made()
    count = 4000
    ours = summary(bootstrap.resample(targets, predictions, 3, resamples=count, seed=1))
    theirs = summary(naive(targets, predictions, count, seed=2))
    for name in ("accuracy", "macro_f1"):
        for of in (lambda values: values[:, 0], lambda values: values[:, 0] - values[:, 1]):
            one, other = of(ours[name]), of(theirs[name])
            spread = other.std()
            # The difference of two means of 4,000 draws has a standard error of spread * sqrt(2 / 4000),
            # that of two standard deviations about 1 / sqrt(4000) of them: four of each.
            assert one.mean() == pytest.approx(other.mean(), abs=4 * spread * np.sqrt(2 / count))
            assert one.std() == pytest.approx(spread, rel=4 / np.sqrt(count))
            # A quantile in the tail is less certain, and jumps from one count of samples to the next.
            tails = [np.quantile(each, [0.025, 0.25, 0.75, 0.975]) for each in (one, other)]
            assert tails[0] == pytest.approx(tails[1], abs=0.2 * spread)


def test_models_are_scored_on_the_same_resamples() -> None:
    targets, [first, second] = made()
    drawn = bootstrap.resample(targets, np.stack([first, second, first]), 3, resamples=60, seed=1)
    assert np.array_equal(drawn[:, 0], drawn[:, 2])
    found = summary(drawn)["accuracy"]
    # Two models that are right on much the same samples: their difference varies less than if each
    # had resamples of its own.
    close = np.where(np.arange(len(targets)) % 30 == 0, second, first)
    drawn = bootstrap.resample(targets, np.stack([first, close]), 3, resamples=500, seed=1)
    found = summary(drawn)["accuracy"]
    independent = np.sqrt(found[:, 0].var() + found[:, 1].var())
    assert 0 < (found[:, 0] - found[:, 1]).std() < 0.5 * independent


def test_a_model_is_resampled_alone_as_beside_others() -> None:
    targets, predictions = made(models=4)
    alone = bootstrap.resample(targets, predictions[:1], 3, resamples=3000, seed=1)
    beside = bootstrap.resample(targets, predictions, 3, resamples=3000, seed=1)
    one, other = (summary(each)["accuracy"][:, 0] for each in (alone, beside))
    assert one.mean() == pytest.approx(other.mean(), abs=4 * one.std() * np.sqrt(2 / 3000))
    assert one.std() == pytest.approx(other.std(), rel=4 / np.sqrt(3000))


def test_resamples_come_out_the_same_whatever_is_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With one class there is one draw a resample, so that blocks only cut the stream of draws.
    targets, predictions = np.zeros(40, dtype=np.int64), np.random.default_rng(0).integers(
        3, size=(2, 40)
    )  # fmt: skip
    whole = bootstrap.resample(targets, predictions, 3, resamples=25, seed=1)
    monkeypatch.setattr(bootstrap, "_BLOCK", 70)
    assert np.array_equal(bootstrap.resample(targets, predictions, 3, resamples=25, seed=1), whole)


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_small_blocks_are_resamples_as_well(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    # Several classes are drawn block by block in turn, so other blocks are other draws: `_BLOCK` is
    # a constant for that reason, and not a matter of the machine.
    targets, predictions = made()
    plain = summary(bootstrap.resample(targets, predictions, 3, resamples=2000, seed=1))
    monkeypatch.setattr(bootstrap, "_BLOCK", block)
    drawn = bootstrap.resample(targets, predictions, 3, resamples=2000, seed=1)
    counts = np.bincount(targets, minlength=3)
    assert np.array_equal(drawn.sum(axis=-1), np.broadcast_to(counts, (2000, 2, 3)))
    for one, other in zip(summary(drawn).values(), plain.values(), strict=True):
        spread = other.std(axis=0)
        assert np.abs(one.mean(axis=0) - other.mean(axis=0)).max() < 4 * spread.max() * np.sqrt(
            2 / 2000
        )
        assert one.std(axis=0) == pytest.approx(spread, rel=4 / np.sqrt(2000))


def test_a_class_without_samples_stays_without() -> None:
    targets, predictions = np.array([0, 0, 2, 2, 2]), np.array([[0, 1, 2, 2, 1]])
    drawn = bootstrap.resample(targets, predictions, 3, resamples=30, seed=0)
    assert (drawn.sum(axis=-1) == [2, 0, 3]).all()
    assert drawn[:, 0, 0, 1].max() == 2
    assert drawn[..., 2, 0].max() == 0


def test_a_single_sample_is_drawn_every_time() -> None:
    drawn = bootstrap.resample(np.array([1]), np.array([[1], [0]]), 2, resamples=4, seed=0)
    assert drawn.tolist() == [[[[0, 0], [0, 1]], [[0, 0], [1, 0]]]] * 4


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    # The project's real test part: 400 samples, 42 of them neutral; hit rates of each class.
    counts, hits = np.array([118, 42, 240]), np.array([0.65, 0.3, 0.8])
    truth = (counts * hits).sum() / counts.sum()
    targets = np.repeat(np.arange(3), counts)
    rng = np.random.default_rng(11)
    covered = {0.95: 0, 0.5: 0}
    trials = 400
    for trial in range(trials):
        right = rng.random(400) < hits[targets]
        predicted = np.where(right, targets, (targets + 1) % 3)
        drawn = bootstrap.resample(targets, predicted[None], 3, resamples=400, seed=trial)
        for level in covered:
            found = bootstrap.interval(summary(drawn)["accuracy"][:, 0], level)
            covered[level] += found.low <= truth <= found.high
    # Three standard deviations of a share of 400 trials are .033 and .075.
    assert covered[0.95] / trials == pytest.approx(0.95, abs=0.033)
    assert covered[0.5] / trials == pytest.approx(0.5, abs=0.075)


def test_an_interval_is_the_middle_of_the_values() -> None:
    values = np.random.default_rng(0).permutation(np.arange(101.0))
    for level, low, high in ((0.9, 5.0, 95.0), (0.5, 25.0, 75.0)):
        found = bootstrap.interval(values, level)
        assert (found.low, found.high) == pytest.approx((low, high))
    assert bootstrap.interval(np.array([0.25]), 0.95) == bootstrap.Interval(0.25, 0.25)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        # Of 9, none or one on the other side of zero: 2 (0 + 1) / 10, 2 (1 + 1) / 10.
        ([1] * 9, 0.2),
        ([1] * 8 + [-1], 0.4),
        ([1] * 8 + [0], 0.4),
        ([1] * 4 + [-1] * 5, 1.0),
        ([0] * 9, 1.0),
    ],
)
def test_a_p_value_counts_what_lies_on_the_other_side_of_zero(
    differences: list[float], expected: float
) -> None:
    assert bootstrap.p_value(np.array(differences)) == pytest.approx(expected)


def test_a_p_value_is_above_zero_and_does_not_know_the_sign() -> None:
    rng = np.random.default_rng(0)
    found = [rng.normal(center, 1.0, size=200) for center in np.linspace(-4, 4, 33)]
    for differences in found:
        p = bootstrap.p_value(differences)
        assert 0 < p <= 1
        assert bootstrap.p_value(-differences) == p
    assert bootstrap.p_value(found[0]) == pytest.approx(2 / 201)
    assert bootstrap.p_value(found[16]) > 0.5


def test_the_interval_at_one_minus_the_p_value_ends_about_at_zero() -> None:
    differences = np.random.default_rng(0).normal(1.5, 1.0, size=5000)
    p = bootstrap.p_value(differences)
    assert bootstrap.interval(differences, 1 - p).low == pytest.approx(0, abs=0.02)
