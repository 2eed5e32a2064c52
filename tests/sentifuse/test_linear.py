"""Tests of the linear layer for predictions."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sentifuse import linear
from sentifuse.linear import Linear


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What went through oneDNN; skips where this torch lacks the operator."""
    if not linear._onednn():
        pytest.skip("no private oneDNN operator in this torch")
    seen: list[Tensor] = []
    product = linear._product

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(x)
        return product(x, weight, bias)

    monkeypatch.setattr(linear, "_product", spy)
    return seen


def layer(bias: bool) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, plain = Linear(70, 33, bias=bias), nn.Linear(70, 33, bias=bias)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 70), (5, 70), (2, 3, 70), (0, 70)])
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_it_computes_what_torchs_own_does(
    bias: bool, shape: tuple[int, ...], guard: Any, products: list[Tensor]
) -> None:
    ours, plain = layer(bias)
    x = torch.randn(*shape)
    with guard():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-6)
    assert len(products) == 1


def test_it_takes_a_view_whose_rows_do_not_follow_each_other(products: list[Tensor]) -> None:
    ours, plain = layer(True)
    x = torch.randn(70, 8, 3).permute(1, 2, 0)[::2]
    with torch.no_grad():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-6)


def test_gradients_are_torchs_own(products: list[Tensor]) -> None:
    ours, plain = layer(True)
    x = torch.randn(4, 70)
    for each in (ours, plain):
        each(x).square().sum().backward()
    assert torch.equal(ours.weight.grad, plain.weight.grad)  # type: ignore[arg-type]
    assert products == []


def test_other_precisions_are_torchs_own(products: list[Tensor]) -> None:
    ours, plain = layer(True)
    x = torch.randn(4, 70)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), plain(x))
    with torch.no_grad():
        assert torch.equal(ours.double()(x.double()), plain.double()(x.double()))
    assert products == []


def test_without_the_private_operator_it_is_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AttributeError

    linear._onednn.cache_clear()
    monkeypatch.setattr(linear, "_product", refuse)
    ours, plain = layer(True)
    x = torch.randn(4, 70)
    try:
        with torch.no_grad():
            assert torch.equal(ours(x), plain(x))
    finally:
        linear._onednn.cache_clear()
