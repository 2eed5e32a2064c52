"""Tests of the linear layer by oneDNN."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.runtime.linear import Linear


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each product went through oneDNN."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    seen: list[bool] = []
    product = F.linear

    def spy(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        seen.append(x.is_mkldnn)
        return product(x, weight, bias)

    monkeypatch.setattr(F, "linear", spy)
    return seen


def layers(bias: bool = True) -> tuple[Linear, nn.Linear]:
    torch.manual_seed(0)
    ours, plain = Linear(70, 33, bias=bias), nn.Linear(70, 33, bias=bias)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 70), (5, 70), (2, 3, 70), (2, 1, 3, 70)])
def test_outputs_and_gradients_are_those_of_torchs_own(
    bias: bool, shape: tuple[int, ...], by_onednn: list[bool]
) -> None:
    ours, plain = layers(bias)
    inputs = [
        torch.randn(*shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        for _ in "ab"
    ]
    outputs = [layer(x) for layer, x in zip((ours, plain), inputs, strict=True)]
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-6)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(*(x.grad for x in inputs), rtol=1e-5, atol=1e-5)
    for name, parameter in ours.named_parameters():
        expected = plain.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-5, atol=1e-5)
    assert by_onednn == [True, False]


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_predictions_go_the_same_way(guard: type[torch.no_grad], by_onednn: list[bool]) -> None:
    ours, plain = layers()
    # A view whose rows do not follow each other.
    x = torch.randn(70, 8, 3).permute(1, 2, 0)[::2]
    with guard():
        torch.testing.assert_close(ours(x), plain(x), rtol=1e-5, atol=1e-6)
    assert by_onednn[0]


def test_what_onednn_is_not_for_is_torchs_own(by_onednn: list[bool]) -> None:
    ours, plain = layers()
    x = torch.randn(4, 70)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), plain(x))
    assert ours(x[:0]).shape == (0, 33)
    assert torch.equal(ours.double()(x.double()), plain.double()(x.double()))
    assert not any(by_onednn)
