"""Tests of what is said about weights that are not those that a model asks for."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from sentifuse.encoders import loading
from sentifuse.errors import UserError

MODULE = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def weights(**changes: Tensor | None) -> dict[str, Tensor]:
    """Those of `MODULE`, some of them left out (None) or changed."""
    found = {**MODULE.state_dict(), **{key.replace("_", ".", 1): v for key, v in changes.items()}}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (weights(**{"0_bias": None}), "1 missing, the first '0.bias'"),
        (weights(**{"1_running_mean": None, "0_weight": None}), "2 missing, the first '0.weight'"),
        (weights(**{"0_lora": torch.ones(1)}), "1 unexpected, the first '0.lora'"),
        (
            weights(**{"0_weight": torch.ones(3, 4)}),
            "1 of another shape, the first '0.weight' with the shape (3, 4), expected (3, 2)",
        ),
        (
            {f"module.{key}": value for key, value in weights().items()},
            "7 missing, the first '0.bias'; 7 unexpected, the first 'module.0.bias'",
        ),
        ({}, "7 missing, the first '0.bias'"),
    ],
)
def test_weights_that_differ_are_counted_and_the_first_is_named(
    given: Mapping[str, Tensor], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        loading.check(MODULE, given, "a.safetensors", "fetch it again")
    assert str(caught.value) == f"a.safetensors: weights: {told}: fetch it again"


def test_weights_that_fit_pass_whatever_their_values() -> None:
    loading.check(MODULE, weights(**{"0_bias": torch.zeros(3)}), "a", "b")
    assert loading.difference([], []) == ""


@pytest.mark.parametrize(
    ("missing", "unexpected", "expected"),
    [
        (["a", "b"], ["module.a", "module.b"], "module."),
        (["a", "b"], ["model.clip.a", "model.clip.b", "model.clip.more"], "model.clip."),
        (["a", "b"], ["module.a"], ""),
        (["a", "b"], ["module.a", "other.b"], ""),
        (["a"], [], ""),
        ([], ["module.a"], ""),
    ],
)
def test_a_prefix_is_found_where_it_is_all_that_differs(
    missing: list[str], unexpected: list[str], expected: str
) -> None:
    assert loading.prefix(missing, unexpected) == expected
