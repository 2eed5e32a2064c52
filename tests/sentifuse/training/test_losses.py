"""Tests of class weights and of the loss."""

from math import exp, log, sqrt
from typing import Any

import pytest
import torch

from sentifuse.config.recipe import Loss
from sentifuse.errors import UserError
from sentifuse.training import losses
from sentifuse.training.losses import Criterion

LABELS = ("negative", "neutral", "positive")


def class_weights(kind: Any, counts: list[int]) -> torch.Tensor:
    return losses.class_weights(Loss(kind, 0.0, 0.0, "none"), counts, LABELS)


def test_weights_are_one_without_weighting_even_for_a_class_without_samples() -> None:
    assert class_weights("none", [5, 0, 2]).tolist() == [1.0, 1.0, 1.0]


def test_balanced_weights_are_inverse_frequencies_over_their_mean() -> None:
    # 1/8, 1/2, 1/4: their mean is 7/24.
    expected = [3 / 7, 12 / 7, 6 / 7]
    assert class_weights("balanced", [8, 2, 4]).tolist() == pytest.approx(expected)


def test_sqrt_weights_are_roots_of_the_balanced_ones() -> None:
    expected = [sqrt(3 / 7), sqrt(12 / 7), sqrt(6 / 7)]
    assert class_weights("sqrt", [8, 2, 4]).tolist() == pytest.approx(expected)


def test_a_mapping_gives_the_weights_in_the_order_of_the_labels() -> None:
    mapping = {"positive": 3.0, "negative": 1.0, "neutral": 2.0}
    assert class_weights(mapping, [8, 2, 4]).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "mapping",
    [
        {"negative": 1.0, "neutral": 2.0},
        {"negative": 1.0, "neutral": 2.0, "positive": 1.0, "mixed": 1.0},
        {"negative": 1.0, "neutral": 2.0, "Positive": 1.0},
    ],
)
def test_a_mapping_must_name_just_the_labels(mapping: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"^loss\.class_weights: .*negative, neutral, positive$"):
        class_weights(mapping, [8, 2, 4])


@pytest.mark.parametrize("kind", ["sqrt", "balanced"])
def test_a_class_without_samples_has_no_frequency_to_weight_by(kind: str) -> None:
    with pytest.raises(UserError, match=r"^loss\.class_weights: .*'neutral'$"):
        class_weights(kind, [8, 0, 4])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("prior", [None, [log(0.5), log(0.2), log(0.3)]])
def test_loss_is_the_weighted_mean_of_smoothed_cross_entropies(
    smoothing: float, prior: list[float] | None
) -> None:
    logits = [[0.5, -1.0, 2.0], [1.5, 0.0, -0.5], [0.0, 0.3, 0.1], [2.0, 2.0, -2.0]]
    targets, weights = [2, 0, 1, 1], [0.5, 2.0, 1.5]

    total = 0.0
    for row, target in zip(logits, targets, strict=True):
        shifted = [x + p for x, p in zip(row, prior or [0.0] * 3, strict=True)]
        log_sum = log(sum(exp(x) for x in shifted))
        for c, x in enumerate(shifted):
            share = (1 - smoothing) * (c == target) + smoothing / 3
            total += weights[c] * share * (log_sum - x)
    expected = total / sum(weights[target] for target in targets)

    log_prior = None if prior is None else torch.tensor(prior)
    criterion = Criterion(torch.tensor(weights), smoothing, log_prior)
    value = criterion(torch.tensor(logits), torch.tensor(targets))
    assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_sample_of_weight_two_counts_as_two_and_one_of_weight_zero_not_at_all(
    smoothing: float,
) -> None:
    logits = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5], [0.0, 0.3, 0.1]])
    targets = torch.tensor([2, 0, 1])
    criterion = Criterion(torch.tensor([0.5, 2.0, 1.5]), smoothing, None)
    samples, index = torch.tensor([2.0, 0.0, 1.0]), [0, 0, 2]
    expected = criterion(logits[index], targets[index])
    torch.testing.assert_close(criterion(logits, targets, samples), expected)
    torch.testing.assert_close(
        criterion.total_weight(targets, samples), criterion.total_weight(targets[index])
    )


def test_equal_weights_of_samples_change_nothing() -> None:
    logits, targets = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]), torch.tensor([2, 0])
    criterion = Criterion(torch.tensor([0.5, 2.0, 1.5]), 0.1, torch.tensor([-1.0, -2.0, -0.5]))
    torch.testing.assert_close(
        criterion(logits, targets, torch.tensor([0.3, 0.3])), criterion(logits, targets)
    )
