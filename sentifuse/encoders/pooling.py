"""How the token states of a sample become one vector.

It is the state of the `first` token or of the `last` real one, the `mean` or the largest value (`max`) over
the real ones, or what a learned query sees (`attention`, SigLIP's vision model).
"""

import torch
from torch import Tensor, nn

from sentifuse.encoders.transformer_layer import ACTIVATIONS, TransformerConfig
from sentifuse.runtime.linear import Linear


def pool(x: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """Token states (B, T, H) -> one vector each, (B, H).

    Args:
        x: the states, padded behind.
        mask: (B, T) bool, True for real tokens; None if there is no padding.
        how: `first`, `last`, `mean` or `max`.
    """
    if how in ("first", "last"):
        return x[torch.arange(x.shape[0], device=x.device), position_of(x, mask, how)]
    if mask is None:
        return x.mean(dim=1) if how == "mean" else x.amax(dim=1)
    if how == "max":
        return x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(dim=1) / weights.sum(dim=1)


def position_of(x: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """The position of the `first` token or the `last` real one, (B,)."""
    batch, length = x.shape[:2]
    if how == "first":
        return torch.zeros(batch, dtype=torch.int64, device=x.device)
    if mask is None:
        return torch.full((batch,), length - 1, device=x.device)
    return mask.sum(dim=1) - 1


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
