"""Tests of the two-player Shapley value of text and image."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sentifuse.evaluation.attribution import attribute
from sentifuse.features.batches import Dataset
from sentifuse.metrics.calibration import softmax
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.fusion import FUSIONS
from sentifuse.models.inference import predict, predict_without
from tests.several import METAS, make_several
from tests.synthetic import (
    IMAGE,
    IMAGE_META,
    TEXT,
    TEXT_DIM,
    TEXT_META,
    encoders,
    make_parts,
    model_config,
    with_arrays,
)

TAILS: dict[str, Any] = {"encoders": encoders(IMAGE, TEXT)}


@pytest.fixture
def data() -> Dataset:
    return make_parts(train=20, val=0, noise=1.0, views=2).train


def classifier(seed: int = 0, **changes: Any) -> Classifier:
    """Random weights, the biases too, so that zeros are not nothing."""
    torch.manual_seed(seed)
    model = Classifier(model_config(**changes))
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight)
    return model


def ensemble(**changes: Any) -> Ensemble:
    return Ensemble([classifier(seed, **changes) for seed in range(3)])


def gap(found: Attribution) -> float:
    """How far the parts are from adding up to the whole."""
    whole = found.base + found.text + found.image
    return float(np.abs(whole - found.probabilities).max())


@pytest.mark.parametrize("voting", [False, True])
@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_nobody_text_and_image_give_adds_up_to_the_probability(
    data: Dataset, fusion: str, tails: bool, voting: bool
) -> None:
    build = ensemble if voting else classifier
    model = build(fusion=fusion, **(TAILS if tails else {}))
    found = attribute(model, data, "mean", 1.3)
    assert found.text.shape == found.image.shape == found.base.shape == (20, 3)
    assert gap(found) < 1e-12
    # Over the classes a contribution only moves probability from one to another.
    assert np.abs(found.text.sum(axis=1)).max() < 1e-12
    assert np.abs(found.image.sum(axis=1)).max() < 1e-12
    assert np.abs(found.text).max() > 1e-3
    assert np.abs(found.image).max() > 1e-3


@pytest.mark.parametrize("fusion", FUSIONS)
def test_all_encoders_of_a_modality_are_one_player(fusion: str) -> None:
    several = make_several(train=20, val=0, noise=1.0, views=2).train
    model = classifier(fusion=fusion, encoders=METAS)
    found = attribute(model, several, "mean", 1.3)
    assert gap(found) < 1e-12
    for name, other in (("text", "image"), ("image", "text")):
        assert np.abs(getattr(found, name)).max() > 1e-3
        # Without it, nothing that any of its encoders says counts.
        lacking = attribute(model, several, "mean", 1.3, {name})
        arrays = dict(several.features.arrays)
        for each in METAS:
            if each.modality == name:
                own = arrays[each.key]
                assert own.hidden is not None
                arrays[each.key] = replace(
                    own, embeddings=own.embeddings[::-1], hidden=own.hidden[::-1]
                )
        turned = replace(several, features=replace(several.features, arrays=arrays))
        again = attribute(model, turned, "mean", 1.3, {name})
        assert not getattr(lacking, name).any()
        np.testing.assert_allclose(getattr(again, other), getattr(lacking, other), atol=1e-12)
        assert np.abs(attribute(model, turned, "mean", 1.3).logits - found.logits).max() > 1e-3


@pytest.mark.parametrize("fusion", ["concat", "cross_attn"])
def test_it_is_the_mean_gain_over_all_orders_of_joining(data: Dataset, fusion: str) -> None:
    model = classifier(fusion=fusion)
    found = attribute(model, data, "plain", 0.8)
    precise = copy.deepcopy(model).double()

    def value(present: Sequence[str]) -> np.ndarray:
        absent = {"text", "image"} - set(present)
        [logits] = predict_without(precise, data, "plain", [absent], torch.float64)
        return softmax(logits.numpy(), 0.8)

    gains: dict[str, list[np.ndarray]] = {"text": [], "image": []}
    for order in itertools.permutations(("text", "image")):
        for place, player in enumerate(order):
            gains[player].append(value(order[: place + 1]) - value(order[:place]))
    np.testing.assert_allclose(found.text, np.mean(gains["text"], axis=0), atol=1e-12)
    np.testing.assert_allclose(found.image, np.mean(gains["image"], axis=0), atol=1e-12)
    np.testing.assert_allclose(found.base, value(()), atol=1e-12)


def test_probabilities_are_those_of_the_model_with_the_temperature(data: Dataset) -> None:
    model = classifier()
    found = attribute(model, data, "mean", 2.0)
    np.testing.assert_allclose(found.logits, predict(model, data, "mean").numpy(), atol=1e-5)
    np.testing.assert_allclose(found.probabilities, softmax(found.logits, 2.0), rtol=1e-12)
    plain = attribute(model, data, "mean", 1.0)
    assert np.abs(plain.text - found.text).max() > 1e-3
    assert gap(plain) < 1e-12


@pytest.mark.parametrize(("mode", "unread"), [("text_only", "image"), ("image_only", "text")])
@pytest.mark.parametrize("tails", [False, True])
def test_a_modality_that_the_model_does_not_read_contributes_nothing(
    data: Dataset, mode: str, unread: str, tails: bool
) -> None:
    found = attribute(classifier(input_mode=mode, **(TAILS if tails else {})), data, "plain", 1.0)
    read = "text" if unread == "image" else "image"
    assert not getattr(found, unread).any()
    np.testing.assert_allclose(getattr(found, read), found.probabilities - found.base, atol=1e-15)
    # All see neither alike.
    assert (found.base == found.base[0]).all()


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(("lack", "left"), [("image", "text"), ("text", "image")])
@pytest.mark.parametrize("tails", [False, True])
def test_samples_that_lack_a_modality_owe_it_nothing(
    data: Dataset, fusion: str, lack: str, left: str, tails: bool
) -> None:
    model = classifier(fusion=fusion, **(TAILS if tails else {}))
    found = attribute(model, data, "mean", 1.0, {lack})
    alone = softmax(predict_without(model, data, "mean", [{lack}])[0].numpy(), 1.0)
    np.testing.assert_allclose(found.probabilities, alone, atol=1e-6)
    assert not getattr(found, lack).any()
    expected = found.probabilities - found.base
    np.testing.assert_allclose(getattr(found, left), expected, atol=1e-12)


def test_modalities_with_equal_parts_in_it_contribute_equally(data: Dataset) -> None:
    image = replace(IMAGE_META, dim=TEXT_DIM, tail=None)
    model = classifier(encoders=(image, replace(TEXT_META, tail=None)), hidden_dims=[])
    linear = model.head[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        # The same weights for both halves of [v; t], and the same norms.
        linear.weight[:, TEXT_DIM:] = linear.weight[:, :TEXT_DIM]
        model.norms[TEXT].load_state_dict(model.norms[IMAGE].state_dict())
    texts = data.features.arrays[TEXT].embeddings
    same = with_arrays(data.features, image={"embeddings": texts})
    found = attribute(model, replace(data, features=same), "plain", 1.0)
    np.testing.assert_allclose(found.text, found.image, atol=1e-7)
    assert np.abs(found.text).max() > 1e-3


def test_a_modality_that_speaks_for_a_class_contributes_to_it(data: Dataset) -> None:
    model = classifier(hidden_dims=[])
    linear = model.head[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.zero_()
        weight, bias = model.norms[TEXT].parameters()
        weight.zero_()
        bias.fill_(1.0)
        # Whatever the text says, it speaks for the last class; the image is silent.
        linear.weight[2, -1] = 3.0
    found = attribute(model, data, "plain", 1.0)
    share = np.exp(3) / (np.exp(3) + 2)
    np.testing.assert_allclose(found.text[:, 2], share - 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(found.base, 1 / 3, rtol=1e-6)
    assert not found.image.any()


def test_views_are_those_asked_for(data: Dataset) -> None:
    model = classifier()
    plain, mean = (attribute(model, data, views, 1.0) for views in ("plain", "mean"))
    assert np.abs(plain.image - mean.image).max() > 1e-4
    assert np.array_equal(plain.base, mean.base)


def test_dropout_is_off(data: Dataset) -> None:
    model = classifier(dropout=0.5).train()
    first, again = (attribute(model, data, "plain", 1.0) for _ in range(2))
    assert np.array_equal(first.text, again.text)


@pytest.mark.parametrize("changes", [{}, {"fusion": "cross_attn"}, TAILS])
def test_no_samples_have_no_contributions(changes: dict[str, Any]) -> None:
    found = attribute(classifier(**changes), make_parts().test, "plain", 1.0)
    for name, values in vars(found).items():
        assert values.shape == (0, 3), name
