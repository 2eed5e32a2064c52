"""The layers of a transformer encoder in plain torch, from any of them on: whole encoders and tails alike.

Every transformer family that `families` describes runs through this one forward pass, frozen as well as
finetuned. So what a tail computes from cached hidden states is what its encoder computes; the tests compare
both with the model of `transformers`. Nothing here imports that library: a training stage does not need it.
"""

import math

import torch
from torch import Tensor, nn

from sentifuse.encoders.pooling import AttentionPool, pool, position_of
from sentifuse.encoders.transformer_layer import ACTIVATIONS, TransformerConfig, TransformerLayer
from sentifuse.errors import UserError
from sentifuse.runtime.linear import Linear

# MPNet's relative positions: distances are exact up to a quarter of the buckets, then grow by logarithm up
# to this one.
_MAX_DISTANCE = 128


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
        at = position_of(hidden, mask, self.config.pool) if single else None
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
