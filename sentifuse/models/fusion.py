"""The fusions: how an image embedding v and a text embedding t become one vector.

A sixth one is a name in `recipe.Fusion` (and in `recipe.ATTENDING`, if it reads tokens), a class, and a
case in `_class_of`. Every forward pass takes v (B, D_image) and t (B, D_text), both layer-normalised.
"""

# mypy: warn-unreachable
from dataclasses import dataclass
from typing import assert_never, get_args

import torch
from torch import Tensor, nn

from sentifuse.config import recipe
from sentifuse.runtime.linear import Linear


@dataclass(frozen=True)
class Tokens:
    """Token states of both modalities, for fusions that attend.

    Attributes:
        image: (B, P, H_image).
        text: (B, T, H_text), padded behind.
        text_mask: (B, T) bool, True for real tokens.
    """

    image: Tensor
    text: Tensor
    text_mask: Tensor


@dataclass(frozen=True)
class Dims:
    """Widths of what a fusion reads: embeddings (v after its projection, if any) and tokens."""

    image: int
    text: int
    image_tokens: int
    text_tokens: int


class Fusion(nn.Module):
    """What every fusion has.

    Attributes:
        equal_dims: whether v and t must have one width; the model then projects v to that of t.
        out_dim: width of the result.
    """

    equal_dims = False
    out_dim: int

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        """(B, D_image), (B, D_text) -> (B, `out_dim`); `tokens` are there for fusions that attend."""
        raise NotImplementedError


class Concat(Fusion):
    """[v; t]."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.image + dims.text

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        return torch.cat([v, t], dim=-1)  # (B, D_image + D_text)


class Gated(Fusion):
    """g t + (1 - g) v with g = sigmoid(MLP([v; t])), one scalar per sample (Arevalo et al. 2017)."""

    equal_dims = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.text
        self.gate = _mlp(dims.image + dims.text, 1)

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        g: Tensor = torch.sigmoid(self.gate(torch.cat([v, t], dim=-1)))  # (B, 1)
        return g * t + (1 - g) * v  # (B, D)


class Film(Fusion):
    """(1 + tanh gamma) t + beta + v with (gamma, beta) = MLP([v; t]) (after Perez et al. 2018)."""

    equal_dims = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.text
        self.modulation = _mlp(dims.image + dims.text, 2 * dims.text)

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        modulation: Tensor = self.modulation(torch.cat([v, t], dim=-1))  # (B, 2 D)
        gamma, beta = modulation.chunk(2, dim=-1)  # (B, D) each
        return (1 + torch.tanh(gamma)) * t + beta + v


class FilmConcat(Fusion):
    """[(1 + tanh gamma_v) v + 0.1 beta_v ; (1 + tanh gamma_t) t + 0.1 beta_t].

    All four come from one MLP([v; t]); each modality keeps its own width.
    """

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.image + dims.text
        self.modulation = _mlp(dims.image + dims.text, 2 * self.out_dim)

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        both = torch.cat([v, t], dim=-1)  # (B, D_image + D_text)
        gamma, beta = self.modulation(both).chunk(2, dim=-1)  # as wide as `both`, each
        fused: Tensor = (1 + torch.tanh(gamma)) * both + 0.1 * beta
        return fused


class CrossAttention(Fusion):
    """[a; t; v], where a is what the text's tokens find in the image's.

    Text tokens query image tokens (multi-head attention over projected states); the masked mean over
    the real tokens is normed, projected to the text's width and scaled by a learned gate that starts
    almost closed, so that training starts from plain concatenation.
    """

    width, heads, gate_start = 256, 4, -4.0

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = 2 * dims.text + dims.image
        self.image_proj = Linear(dims.image_tokens, self.width)
        self.text_proj = Linear(dims.text_tokens, self.width)
        self.attention = nn.MultiheadAttention(self.width, self.heads, batch_first=True)
        self.norm = nn.LayerNorm(self.width)
        self.out_proj = Linear(self.width, dims.text)
        self.gate = nn.Parameter(torch.tensor(self.gate_start))

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        if tokens is None:
            raise ValueError("cross_attn needs the token states of both modalities")
        image = self.image_proj(tokens.image)  # (B, P, width)
        text = self.text_proj(tokens.text)  # (B, T, width)
        found, _ = self.attention(text, image, image, need_weights=False)  # (B, T, width)
        mask = tokens.text_mask.to(found.dtype).unsqueeze(-1)  # (B, T, 1)
        mean = (found * mask).sum(dim=1) / mask.sum(dim=1)  # (B, width)
        attended = torch.sigmoid(self.gate) * self.out_proj(self.norm(mean))  # (B, D_text)
        return torch.cat([attended, t, v], dim=-1)


def _class_of(name: recipe.Fusion) -> type[Fusion]:
    # A `match`, so that mypy reports a name without a class, and a case that is no name of the recipe.
    match name:
        case "concat":
            return Concat
        case "gated":
            return Gated
        case "film":
            return Film
        case "film_concat":
            return FilmConcat
        case "cross_attn":
            return CrossAttention
        case _:
            assert_never(name)


# A name of `fusion` in params.yaml -> the class, called with a `Dims`.
FUSIONS: dict[str, type[Fusion]] = {name: _class_of(name) for name in get_args(recipe.Fusion)}


def _mlp(in_dim: int, out_dim: int, hidden: int = 128) -> nn.Sequential:
    return nn.Sequential(Linear(in_dim, hidden), nn.ReLU(), Linear(hidden, out_dim))
