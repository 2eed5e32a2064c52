"""The fusions: how an image embedding v and a text embedding t become one vector.

Every fusion is a module with a constructor of plain dimensions, the width of its result as `out_dim`,
and `forward(v, t, tokens)`. A sixth one is a class, an entry in `FUSIONS`, and its name in `recipe.Fusion`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    """Widths that a fusion is built from: embeddings after the projection, if any, and tokens."""

    image: int
    text: int
    image_tokens: int
    text_tokens: int


class Fusion(nn.Module):
    """What every fusion has.

    Attributes:
        equal_dims: whether v and t must have one width; the model then projects v to that of t.
        needs_tokens: whether `forward` reads `tokens`.
        out_dim: width of the result.
    """

    equal_dims = False
    needs_tokens = False
    out_dim: int

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        """Fuses (B, D_image) and (B, D_text), both layer-normalised, into (B, `out_dim`)."""
        raise NotImplementedError


class Concat(Fusion):
    """[v; t]."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.image + dims.text

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        return torch.cat([v, t], dim=-1)


class Gated(Fusion):
    """g t + (1 - g) v with g = sigmoid(MLP([v; t])), one scalar a sample (Arevalo et al. 2017)."""

    equal_dims = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.text
        self.gate = _mlp(dims.image + dims.text, 1)

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        g: Tensor = torch.sigmoid(self.gate(torch.cat([v, t], dim=-1)))  # (B, 1)
        return g * t + (1 - g) * v


class Film(Fusion):
    """(1 + tanh gamma) t + beta + v with (gamma, beta) = MLP([v; t]) (after Perez et al. 2018)."""

    equal_dims = True

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.out_dim = dims.text
        self.modulation = _mlp(dims.image + dims.text, 2 * dims.text)

    def forward(self, v: Tensor, t: Tensor, tokens: Tokens | None) -> Tensor:
        modulation: Tensor = self.modulation(torch.cat([v, t], dim=-1))
        gamma, beta = modulation.chunk(2, dim=-1)
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
        both = torch.cat([v, t], dim=-1)
        gamma, beta = self.modulation(both).chunk(2, dim=-1)
        fused: Tensor = (1 + torch.tanh(gamma)) * both + 0.1 * beta
        return fused


class CrossAttention(Fusion):
    """[a; t; v], where a is what the text's tokens find in the image's.

    Text tokens query image tokens (multi-head attention over projected states); the masked mean over
    the real tokens is normed, projected to the text's width and scaled by a learned gate that starts
    almost closed, so that training starts from plain concatenation.
    """

    needs_tokens = True
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
        found, _ = self.attention(text, image, image, need_weights=False)
        mask = tokens.text_mask.to(found.dtype).unsqueeze(-1)  # (B, T, 1)
        mean = (found * mask).sum(dim=1) / mask.sum(dim=1)
        attended = torch.sigmoid(self.gate) * self.out_proj(self.norm(mean))
        return torch.cat([attended, t, v], dim=-1)


# A name of `fusion` in params.yaml -> the class, called with a `Dims`.
FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "gated": Gated,
    "film": Film,
    "film_concat": FilmConcat,
    "cross_attn": CrossAttention,
}


def _mlp(in_dim: int, out_dim: int, hidden: int = 128) -> nn.Sequential:
    return nn.Sequential(Linear(in_dim, hidden), nn.ReLU(), Linear(hidden, out_dim))
