"""Tests of which parameter learns how fast; `test_loop.py` sees how rates change with the steps."""

from dataclasses import replace
from typing import Any

import pytest

from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import FUSIONS
from sentifuse.training.learning_rates import parameter_groups
from tests import several
from tests.sentifuse.training.test_two_stage import STAGE2
from tests.synthetic import IMAGE, IMAGE_META, TEXT, TEXT_META, TEXT_TAIL, encoders, model_config


def rates(model: Classifier, **values: Any) -> dict[str, float]:
    """The rate of each parameter by name; fails if one is in no group or in two."""
    defaults: dict[str, Any] = {"lr_head": 1.0, "lr_attn": 2.0, "lr_clip": 3.0, "layer_decay": 1.0}
    schedule = replace(STAGE2, **{**defaults, **values})
    groups = parameter_groups(model, schedule)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [(names[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert sorted(name for name, _ in grouped) == sorted(names.values())
    return dict(grouped)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_parameter_has_the_rate_of_its_part(fusion: str) -> None:
    model = Classifier(model_config(fusion=fusion, encoders=encoders(IMAGE, TEXT)))
    for name, rate in rates(model).items():
        part = name.split(".")[0]
        if part == "tails":
            assert rate == 3.0, name
        elif part == "fusion" and fusion == "cross_attn":
            assert rate == 2.0, name
        else:
            assert rate == 1.0, name


def test_layers_further_down_learn_more_slowly_and_what_follows_them_as_the_last() -> None:
    text = replace(TEXT_META, tail={**TEXT_TAIL, "layers": 3})
    model = Classifier(model_config(encoders=(replace(IMAGE_META, tail=None), text)))
    for name, rate in rates(model, layer_decay=0.5).items():
        expected = 3.0 if name.startswith(f"tails.{TEXT}.") else 1.0
        for index, factor in enumerate((0.25, 0.5, 1.0)):
            if name.startswith(f"tails.{TEXT}.layers.{index}."):
                expected = 3.0 * factor
        assert rate == pytest.approx(expected), name


def test_blocks_of_a_convolutional_tail_decay_too() -> None:
    tail = {"kind": "efficientnet", "variant": "efficientnet-lite0", "layers": 2}
    image = replace(IMAGE_META, dim=1280, token_dim=320, tail=tail)
    model = Classifier(model_config(encoders=(image, replace(TEXT_META, tail=None))))
    for name, rate in rates(model, layer_decay=0.5).items():
        expected = 3.0 if name.startswith(f"tails.{IMAGE}.") else 1.0
        if name.startswith(f"tails.{IMAGE}.layers.0."):
            expected = 1.5
        assert rate == expected, name


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_layers_of_each_of_several_encoders_decay_from_its_own_last_one(fusion: str) -> None:
    model = Classifier(model_config(fusion=fusion, encoders=several.encoders(*several.KEYS)))
    depths = {key: tail["layers"] for key, tail in several.TAILS.items()}
    assert len(set(depths.values())) == 3
    for name, rate in rates(model, layer_decay=0.5).items():
        part, *path = name.split(".")
        if part == "tails":
            above = depths[path[0]] - 1 - int(path[2]) if path[1] == "layers" else 0
            assert rate == 3.0 * 0.5**above, name
        elif part == "fusion" and fusion == "cross_attn":
            assert rate == 2.0, name
        else:
            assert rate == 1.0, name


def test_the_tails_of_some_of_several_encoders_have_a_rate_and_the_others_none() -> None:
    some = (several.OTHER_IMAGE, TEXT)
    model = Classifier(model_config(encoders=several.encoders(*some)))
    found = rates(model)
    assert {name.split(".")[1] for name, rate in found.items() if rate == 3.0} == set(some)
    assert {name for name in found if name.startswith("tails.")} == {
        name for name, rate in found.items() if rate == 3.0
    }


def test_the_heads_group_comes_first_whatever_the_rates() -> None:
    model = Classifier(model_config(fusion="cross_attn", encoders=encoders(TEXT)))
    for lr_head in (0.0, 1.0, 2.0, 3.0):
        assert rates(model, lr_head=lr_head)["head.0.weight"] == lr_head
        schedule = replace(STAGE2, lr_head=lr_head, lr_attn=2.0, lr_clip=3.0, layer_decay=0.9)
        groups = parameter_groups(model, schedule)
        assert groups[0]["lr"] == lr_head
        assert any(parameter is model.head[0].weight for parameter in groups[0]["params"])
