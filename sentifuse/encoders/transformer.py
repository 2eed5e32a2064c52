"""The layers of a transformer encoder in plain torch, from any of them on: whole encoders and tails alike.

Every transformer family that `families` describes runs through this one forward pass, frozen as well as
finetuned. So what a tail computes from cached hidden states is what its encoder computes; the tests compare
both with the model of `transformers`. Nothing here imports that library: a training stage does not need it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.errors import UserError
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
# How token states become one vector: the state of the first token, of the last real one, the mean or the
# largest value over the real ones, or attention from a learned query (SigLIP's vision model).
POOLS = ("first", "last", "mean", "max", "attention")
# MPNet's relative positions: distances are exact up to a quarter of the buckets, then grow by logarithm up
# to this one.
_MAX_DISTANCE = 128


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
        pool: one of `POOLS`.
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


class RelativePositionBias(nn.Embedding):
    """A learned number for each head and each bucket of distances (Raffel et al. 2020, MPNet's variant)."""

    def of_length(self, length: int) -> Tensor:
        """What is added to the scores of `length` queries (rows) and keys: (1, heads, T, T)."""
        positions = torch.arange(length, device=self.weight.device)
        distances = positions[:, None] - positions[None, :]  # of the key behind the query
        half = self.num_embeddings // 2
        exact = half // 2
        far = distances.abs()
        # The logarithm of 0 is not used: `where` takes such a distance as it is.
        grown = torch.log(far.float() / exact) / math.log(_MAX_DISTANCE / exact) * (half - exact)
        bucket = torch.where(far < exact, far, (exact + grown.long()).clamp(max=half - 1))
        bias: Tensor = self(bucket + half * (distances < 0))  # (T, T, heads)
        return bias.permute(2, 0, 1)[None]


class AttentionPool(nn.Module):
    """One learned query attends to all tokens, then an MLP: the pooling of SigLIP's vision model.

    The parts have the names that they have in `transformers`.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        dim = config.dim
        self.probe = nn.Parameter(torch.randn(1, 1, dim))
        self.attention = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.layernorm = nn.LayerNorm(dim, eps=config.eps)
        self.mlp = nn.ModuleDict(
            {"fc1": Linear(dim, config.mlp_dim), "fc2": Linear(config.mlp_dim, dim)}
        )
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """(B, P, H) -> (B, H)."""
        found = self.attention(self.probe.expand(x.shape[0], -1, -1), x, x, need_weights=False)[0]
        inner = self.activation(self.mlp["fc1"](self.layernorm(found)))
        pooled: Tensor = found + self.mlp["fc2"](inner)  # (B, 1, H)
        return pooled[:, 0]


class Transformer(nn.Module):
    """Layers of a transformer, and what follows them up to the embedding."""

    def __init__(self, config: TransformerConfig, dropout: float = 0.0) -> None:
        """Builds it with random weights.

        Args:
            config: sizes, and how the layers work.
            dropout: on both residual branches, while training, 0..1.

        Raises:
            UserError: an activation that is not known.
        """
        super().__init__()
        if config.activation not in ACTIVATIONS:
            raise UserError(
                f"backbone: activation {config.activation!r}: not one of {', '.join(ACTIVATIONS)}"
            )
        dim, self.config = config.dim, config
        self.layers = nn.ModuleList(TransformerLayer(config, dropout) for _ in range(config.layers))
        self.position_bias = (
            RelativePositionBias(config.position_buckets, config.heads)
            if config.position_buckets
            else None
        )
        self.norm = nn.LayerNorm(dim, eps=config.eps) if config.pre_norm else nn.Identity()
        self.head = AttentionPool(config) if config.pool == "attention" else None
        self.projection: nn.Module = nn.Identity()
        if config.projection_dim is not None:
            self.projection = Linear(dim, config.projection_dim, bias=config.projection_bias)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the layers from `start` on, and what follows them.

        Args:
            hidden: (B, T, H), the states that enter the layer `start`, padded behind.
            mask: (B, T) bool, True for real tokens; None if there is no padding.
            need_tokens: whether the token states are wanted, too.
            start: the first layer to run.

        Returns:
            The embedding (B, D), and the token states (B, T, H) after the final norm or None.
        """
        x, allowed = hidden, self._mask(hidden, mask)
        single = self.config.pool in ("first", "last") and not need_tokens
        at = _position(hidden, mask, self.config.pool) if single else None
        for index in range(start, len(self.layers)):
            x = self.layers[index](x, allowed, at if index == len(self.layers) - 1 else None)
        x = self.norm(x)
        pooled = (
            x[:, 0]
            if single
            else self.head(x)
            if self.head is not None
            else pool(x, mask, self.config.pool)
        )
        pooled = self.projection(pooled)
        if self.config.projection_tanh:
            pooled = pooled.tanh()
        return pooled, x if need_tokens else None

    def lower(self, hidden: Tensor, stop: int) -> Tensor:
        """Runs the first `stop` layers on (B, T, H) without padding: what enters the layer after them."""
        x, allowed = hidden, self._mask(hidden, None)
        for index in range(stop):
            x = self.layers[index](x, allowed)
        return x

    def _mask(self, hidden: Tensor, mask: Tensor | None) -> Tensor | None:
        """What attention is told: bool, True where a query may look at a key, or numbers for the scores.

        Returns:
            (B or 1, heads or 1, T, T), or None where every token looks at every other one.
        """
        length = hidden.shape[1]
        allowed = None
        if self.config.causal:
            # Padding stands behind the real tokens, which cannot see it.
            allowed = torch.ones(
                1, 1, length, length, dtype=torch.bool, device=hidden.device
            ).tril()
        elif mask is not None:
            allowed = mask[:, None, None, :].expand(-1, 1, length, -1)
        if self.position_bias is None:
            return allowed
        bias = self.position_bias.of_length(length)  # (1, heads, T, T)
        return bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)


def pool(x: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """Token states (B, T, H) -> one vector each, (B, H).

    Args:
        x: the states, padded behind.
        mask: (B, T) bool, True for real tokens; None if there is no padding.
        how: one of `POOLS` but `attention`.
    """
    if how in ("first", "last"):
        return x[torch.arange(x.shape[0], device=x.device), _position(x, mask, how)]
    if mask is None:
        return x.mean(dim=1) if how == "mean" else x.amax(dim=1)
    if how == "max":
        return x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(dim=1) / weights.sum(dim=1)


def _position(x: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """The position of the `first` token or the `last` real one, (B,)."""
    batch, length = x.shape[:2]
    if how == "first":
        return torch.zeros(batch, dtype=torch.int64, device=x.device)
    if mask is None:
        return torch.full((batch,), length - 1, device=x.device)
    return mask.sum(dim=1) - 1
