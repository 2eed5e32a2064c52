"""Tests of `loss.noise`: planted wrong labels are found, and no other part has a say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sentifuse.config.recipe import Loss
from sentifuse.errors import UserError
from sentifuse.features.parts import Parts
from sentifuse.training import label_noise
from tests.synthetic import IMAGE_DIM, make_parts, with_arrays

PLANTED = (5, 17, 33, 58, 71)


def noisy() -> Parts:
    """Easy parts with a few wrong labels in train."""
    parts = make_parts(train=120, val=30, noise=0.1)
    targets = parts.train.targets.clone()
    for place in PLANTED:
        targets[place] = (targets[place] + 1) % 3
    return replace(parts, train=replace(parts.train, targets=targets))


def trusted(parts: Parts, noise: str, mode: str = "multimodal", seed: int = 0) -> Parts:
    return label_noise.trusted(parts, Loss("none", 0.0, 0.0, noise), mode, "plain", seed)[0]  # type: ignore[arg-type]


def test_none_leaves_the_parts_as_they_are() -> None:
    parts = noisy()
    assert trusted(parts, "none") is parts


def test_drop_leaves_out_the_planted_labels_and_little_else() -> None:
    parts = noisy()
    found = trusted(parts, "drop")
    left_out = set(parts.train.guids) - set(found.train.guids)
    assert {str(place) for place in PLANTED} <= left_out
    assert len(left_out) < 15
    kept = [int(guid) for guid in found.train.guids]
    assert found.train.rows.tolist() == kept
    assert found.train.targets.tolist() == parts.train.targets[kept].tolist()
    assert found.train.weights is None
    assert found.val is parts.val


def test_weight_gives_them_the_probability_of_their_label() -> None:
    parts = noisy()
    found = trusted(parts, "weight")
    weights = found.train.weights
    assert weights is not None
    assert weights.dtype == torch.float32
    dropped = trusted(parts, "drop")
    lower = [guid for guid, weight in zip(parts.train.guids, weights, strict=True) if weight < 1]
    assert set(lower) == set(parts.train.guids) - set(dropped.train.guids)
    assert weights.min() > 0
    assert weights[list(PLANTED)].max() < 0.4
    assert found.train.targets is parts.train.targets


@pytest.mark.parametrize("noise", ["drop", "weight"])
def test_other_parts_have_no_say(noise: str) -> None:
    parts = noisy()
    shuffled = replace(parts.val, targets=parts.val.targets.flip(0))
    one = trusted(parts, noise)
    other = trusted(replace(parts, val=shuffled, test=shuffled), noise)
    assert one.train.guids == other.train.guids
    if one.train.weights is not None and other.train.weights is not None:
        assert torch.equal(one.train.weights, other.train.weights)


def test_a_recipe_for_text_alone_learns_nothing_from_the_images() -> None:
    parts = noisy()
    nothing = {"embeddings": np.full((150, 1, IMAGE_DIM), np.nan, dtype=np.float32)}
    train = replace(parts.train, features=with_arrays(parts.train.features, image=nothing))
    found = trusted(replace(parts, train=train), "drop", "text_only")
    assert found.train.guids == trusted(parts, "drop", "text_only").train.guids
    assert found.train.guids != trusted(parts, "drop").train.guids


def test_twins_have_no_say_in_each_others_labels() -> None:
    # Every sample has a twin with the same embeddings and the same wrong label: nobody else doubts it.
    parts = noisy()
    twice = np.concatenate([parts.train.rows] * 2)
    guids = [*parts.train.guids, *(f"twin-{guid}" for guid in parts.train.guids)]
    train = replace(parts.train, rows=twice, targets=parts.train.targets.repeat(2), guids=guids)
    groups = {guid: guid.removeprefix("twin-") for guid in guids}
    found = trusted(replace(parts, train=train, groups=groups), "drop")
    left_out = set(guids) - set(found.train.guids)
    assert {name for place in PLANTED for name in (f"{place}", f"twin-{place}")} <= left_out


@pytest.mark.parametrize("noise", ["drop", "weight"])
def test_too_few_samples_of_a_label_are_refused_with_the_key(noise: str) -> None:
    parts = make_parts(train=12, val=3)
    with pytest.raises(
        UserError, match=rf"^loss\.noise: '{noise}': 5 folds: the label 'negative' has 4 groups"
    ):
        trusted(parts, noise)
