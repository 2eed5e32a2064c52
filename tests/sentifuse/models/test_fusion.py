"""Tests of the fusions: values by hand, gradients, and the contract of the registry."""

from math import exp, tanh

import pytest
import torch
from torch import Tensor, nn

from sentifuse.config import recipe
from sentifuse.features.batches import States
from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import (
    FUSIONS,
    Concat,
    CrossAttention,
    Dims,
    Film,
    FilmConcat,
    Fusion,
    Gated,
    Tokens,
)
from tests.synthetic import IMAGE, IMAGE_DIM, TEXT, TEXT_DIM, model_config

# Two samples; the components of the second one sum up to less than zero.
V = [[1.0, -2.0], [0.5, -1.0]]
T = [[3.0, 4.0], [-2.0, 0.25]]


def dims_of(fusion: type[Fusion]) -> Dims:
    return Dims(image=4 if fusion.equal_dims else 5, text=4, image_tokens=7, text_tokens=6)


def inputs(dims: Dims, batch: int) -> tuple[Tensor, Tensor, Tokens]:
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    mask = torch.arange(5) < torch.arange(2, 2 + batch)[:, None]
    tokens = Tokens(normal(batch, 3, dims.image_tokens), normal(batch, 5, dims.text_tokens), mask)
    return normal(batch, dims.image), normal(batch, dims.text), tokens


def set_constants(mlp: nn.Module, slopes: list[float], biases: list[float]) -> None:
    """Makes output k of the MLP `slopes[k] * max(0, sum of the inputs / 2) + biases[k]`."""
    first, _, last = mlp
    first.weight.data.fill_(0.5)
    first.bias.data.fill_(0.0)
    width = first.out_features
    last.weight.data.copy_(torch.tensor(slopes)[:, None].expand(-1, width) / width)
    last.bias.data.copy_(torch.tensor(biases))


def rectified(sample: int) -> float:
    return max(0.0, (sum(V[sample]) + sum(T[sample])) / 2)


def test_concat_puts_the_image_before_the_text() -> None:
    fused = Concat(Dims(2, 3, 0, 0))(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0, 5.0]]), None
    )
    assert fused.tolist() == [[1.0, 2.0, 3.0, 4.0, 5.0]]


def test_gated_weighs_text_against_image_with_one_scalar_a_sample() -> None:
    fusion = Gated(Dims(2, 2, 0, 0))
    set_constants(fusion.gate, [0.3], [0.25])
    fused = fusion(torch.tensor(V), torch.tensor(T), None)
    for sample in range(2):
        g = 1 / (1 + exp(-(0.3 * rectified(sample) + 0.25)))
        expected = [g * t + (1 - g) * v for v, t in zip(V[sample], T[sample], strict=True)]
        assert fused[sample].tolist() == pytest.approx(expected, rel=1e-5)


def test_film_scales_and_shifts_the_text_and_adds_the_image() -> None:
    fusion = Film(Dims(2, 2, 0, 0))
    slopes, biases = [0.1, -0.2, 0.3, 0.4], [0.5, 0.6, -0.7, 0.8]
    set_constants(fusion.modulation, slopes, biases)
    fused = fusion(torch.tensor(V), torch.tensor(T), None)
    for sample in range(2):
        m = [a * rectified(sample) + b for a, b in zip(slopes, biases, strict=True)]
        gamma, beta = m[:2], m[2:]
        expected = [(1 + tanh(gamma[k])) * T[sample][k] + beta[k] + V[sample][k] for k in range(2)]
        assert fused[sample].tolist() == pytest.approx(expected, rel=1e-5)


def test_film_concat_scales_and_shifts_each_modality_in_its_own_width() -> None:
    v, t = [1.0, -2.0, 0.5], [3.0, 4.0]
    fusion = FilmConcat(Dims(3, 2, 0, 0))
    slopes = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, -0.7, 0.8, -0.9, 1.0]
    biases = [0.5, 0.6, -0.7, 0.8, -0.9, 1.0, 1.1, -1.2, 1.3, 1.4]
    set_constants(fusion.modulation, slopes, biases)
    fused = fusion(torch.tensor([v]), torch.tensor([t]), None)
    m = [a * (sum(v) + sum(t)) / 2 + b for a, b in zip(slopes, biases, strict=True)]
    gamma_v, gamma_t, beta_v, beta_t = m[:3], m[3:5], m[5:8], m[8:]
    expected = [(1 + tanh(gamma_v[k])) * v[k] + 0.1 * beta_v[k] for k in range(3)]
    expected += [(1 + tanh(gamma_t[k])) * t[k] + 0.1 * beta_t[k] for k in range(2)]
    assert fused[0].tolist() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_cross_attention_is_the_gated_mean_of_what_real_text_tokens_find_in_the_image() -> None:
    torch.manual_seed(0)
    fusion = CrossAttention(dims_of(CrossAttention))
    fusion.gate.fill_(0.7)
    v, t, tokens = inputs(dims_of(CrossAttention), batch=3)
    fused = fusion(v, t, tokens)

    attention, width = fusion.attention, fusion.width
    w_q, w_k, w_v = attention.in_proj_weight.chunk(3)
    b_q, b_k, b_v = attention.in_proj_bias.chunk(3)
    for sample in range(3):
        image = tokens.image[sample] @ fusion.image_proj.weight.T + fusion.image_proj.bias
        found = []
        for position in range(int(tokens.text_mask[sample].sum())):
            text = tokens.text[sample, position] @ fusion.text_proj.weight.T + fusion.text_proj.bias
            query, keys, values = w_q @ text + b_q, image @ w_k.T + b_k, image @ w_v.T + b_v
            heads = []
            for start in range(0, width, width // 4):
                part = slice(start, start + width // 4)
                scores = keys[:, part] @ query[part] / (width // 4) ** 0.5
                heads.append(scores.softmax(dim=0) @ values[:, part])
            found.append(attention.out_proj.weight @ torch.cat(heads) + attention.out_proj.bias)
        mean = torch.stack(found).mean(dim=0)
        normed = (mean - mean.mean()) / (mean.var(unbiased=False) + 1e-5).sqrt()
        attended = fusion.out_proj.weight @ normed + fusion.out_proj.bias
        attended = attended / (1 + exp(-0.7))
        expected = torch.cat([attended, t[sample], v[sample]])
        torch.testing.assert_close(fused[sample], expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_cross_attention_does_not_see_what_stands_in_padded_positions() -> None:
    dims = dims_of(CrossAttention)
    fusion = CrossAttention(dims)
    v, t, tokens = inputs(dims, batch=3)
    garbage = tokens.text.masked_fill(~tokens.text_mask.unsqueeze(-1), 1e3)
    other = fusion(v, t, Tokens(tokens.image, garbage, tokens.text_mask))
    assert torch.equal(fusion(v, t, tokens), other)
    shorter = Tokens(tokens.image[:1], tokens.text[:1, :2], tokens.text_mask[:1, :2])
    torch.testing.assert_close(fusion(v[:1], t[:1], shorter), other[:1])


@torch.no_grad()
def test_cross_attention_starts_with_its_gate_almost_closed() -> None:
    dims = dims_of(CrossAttention)
    fusion = CrossAttention(dims)
    v, t, tokens = inputs(dims, batch=2)
    closed = fusion(v, t, tokens)[:, : dims.text]
    fusion.gate.fill_(50.0)  # sigmoid 1
    opened = fusion(v, t, tokens)[:, : dims.text]
    torch.testing.assert_close(closed, opened / (1 + exp(4)))


@pytest.mark.parametrize("name", FUSIONS)
def test_result_is_as_wide_as_promised_and_a_batch_of_one_gives_the_same(name: str) -> None:
    dims = dims_of(FUSIONS[name])
    fusion = FUSIONS[name](dims)
    v, t, tokens = inputs(dims, batch=3)
    three = fusion(v, t, tokens)
    assert three.shape == (3, fusion.out_dim)
    one = fusion(v[:1], t[:1], Tokens(tokens.image[:1], tokens.text[:1], tokens.text_mask[:1]))
    torch.testing.assert_close(one, three[:1])


@pytest.mark.parametrize("name", FUSIONS)
def test_every_parameter_and_both_inputs_get_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    dims = dims_of(FUSIONS[name])
    fusion = FUSIONS[name](dims)
    v, t, tokens = inputs(dims, batch=3)
    v.requires_grad_()
    t.requires_grad_()
    fused = fusion(v, t, tokens)
    (fused * torch.randn_like(fused)).sum().backward()
    for key, tensor in [("v", v), ("t", t), *fusion.named_parameters()]:
        assert tensor.grad is not None, key
        assert tensor.grad.isfinite().all(), key
        assert tensor.grad.abs().max() > 1e-6, key


def test_a_sixth_fusion_is_a_class_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Product(Fusion):
        equal_dims = True

        def __init__(self, dims: Dims) -> None:
            super().__init__()
            self.out_dim = dims.text

        def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
            return v * t

    monkeypatch.setitem(FUSIONS, "product", Product)
    model = Classifier(model_config(fusion="product")).eval()
    image, text = torch.randn(2, IMAGE_DIM), torch.randn(2, TEXT_DIM)
    v, t = model.norms[IMAGE](model.projections[IMAGE](image)), model.norms[TEXT](text)
    batch = {IMAGE: States(image[:, None]), TEXT: States(text[:, None])}
    torch.testing.assert_close(model(batch), model.head(v * t))


@pytest.mark.parametrize("name", FUSIONS)
def test_the_fusions_that_cannot_do_without_tokens_are_those_that_attend(name: str) -> None:
    dims = dims_of(FUSIONS[name])
    v, t, _ = inputs(dims, batch=1)
    try:
        FUSIONS[name](dims)(v, t, None)
        attends = False
    except ValueError:
        attends = True
    assert attends == (name in recipe.ATTENDING)
