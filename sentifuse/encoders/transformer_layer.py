"""One layer of a transformer encoder in plain torch, and how layers are built."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.runtime.dropout import Dropout
from sentifuse.runtime.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class TransformerConfig:
    """How the layers of a transformer are built.

    Attributes:
        layers: how many.
        dim: width H of the hidden states.
        heads: attention heads; they divide `dim`.
        mlp_dim: inner width of the MLP.
        activation: a key of `ACTIVATIONS`.
        eps: of the layer norms.
        pre_norm: CLIP and ViT norm before attention and MLP and once at the end, BERT after each.
        causal: a token sees only itself and those before it.
        pool: as of the module `pooling`.
        projection_dim: width of the projected embedding; None for no projection.
        projection_bias: whether the projection adds a bias.
        projection_tanh: whether a hyperbolic tangent follows it (dense layers of sentence-transformers).
        qkv_bias: whether the projections to queries, keys and values add one.
        gated_mlp: whether the MLP has a second input layer whose activation multiplies the first (SwiGLU).
        layer_scale: whether each residual branch is multiplied by a learned vector (DINOv2).
        position_buckets: of the relative position bias that all layers share (MPNet); 0 for none.
    """

    layers: int
    dim: int
    heads: int
    mlp_dim: int
    activation: str
    eps: float
    pre_norm: bool
    causal: bool
    pool: str
    projection_dim: int | None
    projection_bias: bool = False
    projection_tanh: bool = False
    qkv_bias: bool = True
    gated_mlp: bool = False
    layer_scale: bool = False
    position_buckets: int = 0


class Scale(nn.Module):
    """Multiplies each of H numbers by a learned one (LayerScale, Touvron et al. 2021, arXiv:2103.17239)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lambda1 = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) -> (..., H)."""
        return x * self.lambda1


class TransformerLayer(nn.Module):
    """One encoder layer: attention and MLP, each with a residual, normed before (CLIP) or after (BERT)."""

    def __init__(self, config: TransformerConfig, dropout: float) -> None:
        """Builds the layer with random weights; `dropout` is for both residual branches."""
        super().__init__()
        dim = config.dim
        self.heads, self.pre_norm = config.heads, config.pre_norm
        self.activation = ACTIVATIONS[config.activation]
        self.q_proj = Linear(dim, dim, bias=config.qkv_bias)
        self.k_proj = Linear(dim, dim, bias=config.qkv_bias)
        self.v_proj = Linear(dim, dim, bias=config.qkv_bias)
        self.out_proj = Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=config.eps)
        self.fc1 = Linear(dim, config.mlp_dim)
        self.gate = Linear(dim, config.mlp_dim) if config.gated_mlp else None
        self.fc2 = Linear(config.mlp_dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=config.eps)
        self.scale1 = Scale(dim) if config.layer_scale else nn.Identity()
        self.scale2 = Scale(dim) if config.layer_scale else nn.Identity()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, at: Tensor | None = None) -> Tensor:
        """Runs the layer.

        Args:
            x: (B, T, H).
            mask: as of `Transformer._mask`: (B or 1, heads or 1, T, T), for queries (rows) and keys.
            at: (B,) int64, the one position per sample whose output is wanted; None for all. The
                others are then not computed: in the last layer only the pooled one is needed.

        Returns:
            (B, T, H), or (B, 1, H) with `at`.
        """
        kv = self.norm1(x) if self.pre_norm else x
        q = kv
        if at is not None:
            rows = torch.arange(x.shape[0], device=x.device)
            q, x = kv[rows, at, None], x[rows, at, None]  # (B, 1, H)
            if mask is not None:
                mask = mask.expand(x.shape[0], -1, -1, -1)[
                    rows, :, at, None
                ]  # (B, heads or 1, 1, T)
        x = x + self.dropout(self.scale1(self._attend(q, kv, mask)))
        x = x if self.pre_norm else self.norm1(x)
        inner = self.norm2(x) if self.pre_norm else x
        x = x + self.dropout(self.scale2(self._mlp(inner)))
        return x if self.pre_norm else self.norm2(x)

    def _mlp(self, x: Tensor) -> Tensor:
        inner = self.fc1(x)  # (B, T, MLP)
        gate = self.gate
        inner = self.activation(inner) if gate is None else self.activation(gate(x)) * inner
        out: Tensor = self.fc2(inner)
        return out

    def _attend(self, q: Tensor, kv: Tensor, mask: Tensor | None) -> Tensor:
        def split(x: Tensor) -> Tensor:  # (B, T, H) -> (B, heads, T, H / heads)
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q_proj(q)), split(self.k_proj(kv)), split(self.v_proj(kv))
        attended = _attention(q, k, v, mask)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention over (B, heads, T, H / heads)."""
    if q.dtype != torch.bfloat16 or q.device.type != "cpu":
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # On a CPU torch's own takes several times as long in bfloat16, the more so backwards.
    scores = (q * q.shape[-1] ** -0.5) @ k.mT  # (B, heads, T, T)
    if mask is not None:
        scores = (
            scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, -torch.inf)
        )
    weights: Tensor = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    return weights @ v
