"""Tests of which parameter learns how fast; `test_loop.py` sees how rates change with the steps."""

from dataclasses import replace

import pytest

from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import FUSIONS
from sentifuse.training.learning_rates import parameter_groups
from tests.sentifuse.training.test_two_stage import STAGE2
from tests.synthetic import IMAGE_TAIL, TEXT_TAIL, model_config


def rates(model: Classifier, **values: float) -> dict[str, float]:
    """The rate of each parameter by name; fails if one is in no group or in two."""
    defaults = {"lr_head": 1.0, "lr_attn": 2.0, "lr_clip": 3.0, "layer_decay": 1.0}
    schedule = replace(STAGE2, **{**defaults, **values})
    groups = parameter_groups(model, schedule)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    grouped = [(names[id(p)], group["lr"]) for group in groups for p in group["params"]]
    assert sorted(name for name, _ in grouped) == sorted(names.values())
    return dict(grouped)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_parameter_has_the_rate_of_its_part(fusion: str) -> None:
    model = Classifier(model_config(fusion=fusion, image_tail=IMAGE_TAIL, text_tail=TEXT_TAIL))
    for name, rate in rates(model).items():
        part = name.split(".")[0]
        if part in ("image_tail", "text_tail"):
            assert rate == 3.0, name
        elif part == "fusion" and fusion == "cross_attn":
            assert rate == 2.0, name
        else:
            assert rate == 1.0, name


def test_layers_further_down_learn_more_slowly_and_what_follows_them_as_the_last() -> None:
    model = Classifier(model_config(text_tail={**TEXT_TAIL, "layers": 3}))
    for name, rate in rates(model, layer_decay=0.5).items():
        expected = 3.0 if name.startswith("text_tail.") else 1.0
        for index, factor in enumerate((0.25, 0.5, 1.0)):
            if name.startswith(f"text_tail.layers.{index}."):
                expected = 3.0 * factor
        assert rate == pytest.approx(expected), name


def test_blocks_of_a_convolutional_tail_decay_too() -> None:
    tail = {"kind": "efficientnet-lite0", "layers": 2}
    model = Classifier(model_config(image_dim=1280, image_token_dim=320, image_tail=tail))
    for name, rate in rates(model, layer_decay=0.5).items():
        expected = 3.0 if name.startswith("image_tail.") else 1.0
        if name.startswith("image_tail.blocks.0."):
            expected = 1.5
        assert rate == expected, name


def test_the_heads_group_comes_first_whatever_the_rates() -> None:
    model = Classifier(model_config(fusion="cross_attn", text_tail=TEXT_TAIL))
    for lr_head in (0.0, 1.0, 2.0, 3.0):
        assert rates(model, lr_head=lr_head)["head.0.weight"] == lr_head
        schedule = replace(STAGE2, lr_head=lr_head, lr_attn=2.0, lr_clip=3.0, layer_decay=0.9)
        groups = parameter_groups(model, schedule)
        assert groups[0]["lr"] == lr_head
        assert any(parameter is model.head[0].weight for parameter in groups[0]["params"])
