"""Tests of the tails on their own; `test_split_point.py` compares them with whole encoders."""

from typing import Any

import pytest
import torch

from sentifuse.encoders import tails
from sentifuse.encoders.transformer_layer import ACTIVATIONS
from sentifuse.errors import UserError

HEADS = {"causal": (True, "last"), "class token": (False, "first"), "mean": (False, "mean")}
MASK = torch.arange(6) < torch.tensor([2, 6, 4])[:, None]


def config(kind: str, **changes: Any) -> dict[str, Any]:
    causal, pool = HEADS[kind]
    return {
        "kind": "transformer",
        "layers": 2,
        "dim": 8,
        "heads": 2,
        "mlp_dim": 16,
        "activation": "gelu",
        "eps": 1e-5,
        "pre_norm": pool != "mean",
        "causal": causal,
        "pool": pool,
        "projection_dim": None if pool == "mean" else 5,
        **changes,
    }


def hidden() -> torch.Tensor:
    return torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_embedding_is_the_same_with_and_without_tokens(
    layers: int, padded: bool, kind: str
) -> None:
    torch.manual_seed(0)
    tail = tails.build(config(kind, layers=layers)).eval()
    mask = MASK if padded else None
    embedding, nothing = tail(hidden(), mask, need_tokens=False)
    same, tokens = tail(hidden(), mask, need_tokens=True)
    assert nothing is None
    assert tokens.shape == (3, 6, 8)
    assert embedding.shape == (3, 8 if kind == "mean" else 5)
    torch.testing.assert_close(embedding, same, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("need_tokens", [False, True])
def test_padding_changes_neither_embedding_nor_real_tokens(need_tokens: bool, kind: str) -> None:
    torch.manual_seed(0)
    tail = tails.build(config(kind)).eval()
    garbage = hidden().masked_fill(~MASK.unsqueeze(-1), 1e3)
    embedding, tokens = tail(garbage, MASK, need_tokens)
    for index, length in enumerate(MASK.sum(dim=1).tolist()):
        alone, own = tail(hidden()[index : index + 1, :length], None, need_tokens)
        torch.testing.assert_close(embedding[index], alone[0], rtol=1e-5, atol=1e-6)
        if need_tokens:
            torch.testing.assert_close(tokens[index, :length], own[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "position"), [("causal", -1), ("class token", 0)])
def test_the_embedding_is_the_projected_state_of_one_token(kind: str, position: int) -> None:
    tail = tails.build(config(kind)).eval()
    embedding, tokens = tail(hidden(), None, need_tokens=True)
    torch.testing.assert_close(embedding, tokens[:, position] @ tail.projection.weight.T)


def test_the_mean_is_over_real_tokens() -> None:
    tail = tails.build(config("mean")).eval()
    embedding, tokens = tail(hidden(), MASK, need_tokens=True)
    for index, length in enumerate(MASK.sum(dim=1).tolist()):
        torch.testing.assert_close(embedding[index], tokens[index, :length].mean(dim=0))


def test_causal_tokens_do_not_see_later_ones() -> None:
    tail = tails.build(config("causal")).eval()
    changed = hidden()
    changed[:, 3:] += torch.arange(8.0)
    _, before = tail(hidden(), None, need_tokens=True)
    _, after = tail(changed, None, need_tokens=True)
    torch.testing.assert_close(after[:, :3], before[:, :3])
    assert not torch.isclose(after[:, 3:], before[:, 3:]).all(dim=-1).any()


@pytest.mark.parametrize("kind", HEADS)
def test_dropout_acts_in_training_only(kind: str) -> None:
    torch.manual_seed(0)
    tail = tails.build(config(kind), dropout=0.3)
    first, second = (tail(hidden(), None, False)[0] for _ in range(2))
    assert not torch.equal(first, second)
    tail.eval()
    first, second = (tail(hidden(), None, False)[0] for _ in range(2))
    assert torch.equal(first, second)


@torch.no_grad()
def test_dropout_acts_on_both_residual_branches() -> None:
    torch.manual_seed(0)
    for other in ("fc2", "out_proj"):
        layer = tails.build(config("causal"), dropout=0.5).layers[0]
        silent = layer.get_submodule(other)
        silent.weight.zero_()
        silent.bias.zero_()
        dropped = layer(hidden(), None) - hidden()
        scaled = 2 * (layer.eval()(hidden(), None) - hidden())
        kept = dropped != 0
        assert 0.3 < kept.float().mean() < 0.7
        torch.testing.assert_close(dropped[kept], scaled[kept], rtol=1e-4, atol=1e-5)


def test_an_unknown_activation_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match=r"'swiglu': not one of gelu, .*quick_gelu"):
        tails.build(config("causal", activation="swiglu"))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_transformers(name: str) -> None:
    from transformers.activations import ACT2FN

    x = torch.linspace(-4, 4, 33)
    torch.testing.assert_close(ACTIVATIONS[name](x), ACT2FN[name](x))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"layers": 3}, "16 missing, the first 'layers.2.fc1.bias'"),
        ({"layers": 1}, "16 unexpected, the first 'layers.1.fc1.bias'"),
        (
            {"projection_dim": 4},
            "1 of another shape, the first 'projection.weight' with the shape (5, 8), expected (4, 8)",
        ),
        ({"projection_dim": None}, "1 unexpected, the first 'projection.weight'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    changes: dict[str, Any], told: str
) -> None:
    weights = tails.build(config("causal")).state_dict()
    with pytest.raises(UserError) as caught:
        tails.check_weights(tails.build(config("causal", **changes)), weights, "the file")
    assert str(caught.value).startswith("the file: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_batch_norms_keep_the_statistics_of_pre_training() -> None:
    tail = tails.build({"kind": "efficientnet", "variant": "efficientnet-lite0", "layers": 1})
    before = {key: value.clone() for key, value in tail.state_dict().items()}
    maps = torch.randn(2, 49, 192)
    outputs = []
    for training in (True, False):
        tail.train(training)
        norms = [m for m in tail.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert len(norms) == 4
        assert not any(norm.training for norm in norms)
        outputs.append(tail(maps, None, need_tokens=False)[0])
    assert torch.equal(*outputs)
    assert all(torch.equal(value, before[key]) for key, value in tail.state_dict().items())


def test_a_convolutional_tail_gives_its_last_map_as_tokens() -> None:
    tail = tails.build(
        {"kind": "efficientnet", "variant": "efficientnet-lite0", "layers": 1}
    ).eval()
    maps = torch.randn(2, 49, 192)
    embedding, tokens = tail(maps, None, need_tokens=True)
    same, nothing = tail(maps, None, need_tokens=False)
    assert nothing is None
    assert tokens.shape == (2, 49, 320)
    assert embedding.shape == (2, 1280)
    assert torch.equal(embedding, same)


@pytest.mark.parametrize("kind", HEADS)
def test_attention_under_autocast_is_that_of_full_precision_to_its_rounding(kind: str) -> None:
    torch.manual_seed(0)
    tail = tails.build(config(kind))
    exact, _ = tail(hidden(), MASK, need_tokens=False)
    exact.square().sum().backward()
    expected = {name: weight.grad.clone() for name, weight in tail.named_parameters()}
    tail.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, _ = tail(hidden(), MASK, need_tokens=False)
    rounded.float().square().sum().backward()
    torch.testing.assert_close(rounded.float(), exact, rtol=0.05, atol=0.05)
    for name, weight in tail.named_parameters():
        largest = float(expected[name].abs().max())
        assert float((weight.grad - expected[name]).abs().max()) <= 0.1 * largest + 1e-3, name
