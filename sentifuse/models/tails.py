"""The last layers of an encoder, trainable, run from the split point on.

A tail is built from the small config and the weights that `preprocess` stores beside the features, in
plain torch: a training stage neither loads nor imports the backbone's library. Given the hidden states
that enter its first layer, a tail computes just what the whole encoder would; the tests compare both.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.encoders import loading
from sentifuse.encoders.interface import TransformerConfig
from sentifuse.errors import UserError
from sentifuse.models.dropout import Dropout
from sentifuse.runtime.linear import Linear

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
}


class TransformerLayer(nn.Module):
    """One encoder layer: attention and MLP, each with a residual, normed before (CLIP) or after (BERT)."""

    def __init__(self, config: TransformerConfig, dropout: float) -> None:
        """Builds the layer with random weights; `dropout` is for both residual branches."""
        super().__init__()
        dim = config.dim
        self.heads, self.pre_norm = config.heads, config.pre_norm
        self.activation = ACTIVATIONS[config.activation]
        self.q_proj = Linear(dim, dim)
        self.k_proj = Linear(dim, dim)
        self.v_proj = Linear(dim, dim)
        self.out_proj = Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=config.eps)
        self.fc1 = Linear(dim, config.mlp_dim)
        self.fc2 = Linear(config.mlp_dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=config.eps)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor | None, at: Tensor | None = None) -> Tensor:
        """Runs the layer.

        Args:
            x: (B, T, H).
            allowed: (B or 1, 1, T, T) bool, True where a query (row) may look at a key (column).
            at: (B,) int64, the one position per sample whose output is wanted; None for all. The
                others are then not computed: in the last layer only the pooled one is needed.

        Returns:
            (B, T, H), or (B, 1, H) with `at`.
        """
        kv = self.norm1(x) if self.pre_norm else x
        q = kv
        if at is not None:
            rows = torch.arange(len(x), device=x.device)
            q, x = kv[rows, at, None], x[rows, at, None]  # (B, 1, H)
            if allowed is not None:
                allowed = allowed.expand(len(x), -1, -1, -1)[rows, :, at, None]  # (B, 1, 1, T)
        x = x + self.dropout(self._attend(q, kv, allowed))
        x = x if self.pre_norm else self.norm1(x)
        inner = self.fc1(self.norm2(x) if self.pre_norm else x)  # (B, T, MLP)
        x = x + self.dropout(self.fc2(self.activation(inner)))
        return x if self.pre_norm else self.norm2(x)

    def _attend(self, q: Tensor, kv: Tensor, allowed: Tensor | None) -> Tensor:
        def split(x: Tensor) -> Tensor:  # (B, T, H) -> (B, heads, T, H / heads)
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q_proj(q)), split(self.k_proj(kv)), split(self.v_proj(kv))
        attended = _attention(q, k, v, allowed)
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    """Scaled dot-product attention over (B, heads, T, H / heads)."""
    if q.dtype != torch.bfloat16 or q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    # On a CPU torch's own takes several times as long in bfloat16, the more so backwards.
    scores = (q * q.shape[-1] ** -0.5) @ k.mT  # (B, heads, T, T)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    weights: Tensor = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
    return weights @ v


class TransformerTail(nn.Module):
    """The last layers of a transformer, its final norm and projection where it has them."""

    def __init__(self, config: TransformerConfig, dropout: float = 0.0) -> None:
        """Builds the tail with random weights.

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
        dim, self.embedding_dim = config.dim, config.projection_dim or config.dim
        self.causal, self.pool = config.causal, config.pool
        self.layers = nn.ModuleList(TransformerLayer(config, dropout) for _ in range(config.layers))
        self.norm = nn.LayerNorm(dim, eps=config.eps) if config.pre_norm else nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if config.projection_dim is not None:
            self.projection = Linear(dim, config.projection_dim, bias=False)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Runs the tail.

        Args:
            hidden: (B, T, H), the states that enter its first layer, padded behind.
            mask: (B, T) bool, True for real tokens; None if there is no padding.
            need_tokens: whether the token states are wanted, too.

        Returns:
            The embedding (B, D), and the token states (B, T, H) after the final norm or None.
        """
        x, allowed = hidden, self._allowed(hidden, mask)
        at = None if need_tokens or self.pool == "mean" else self._position(hidden, mask)
        for index, layer in enumerate(self.layers):
            x = layer(x, allowed, at if index == len(self.layers) - 1 else None)
        x = self.norm(x)
        if at is not None:
            pooled = x[:, 0]
        elif self.pool == "mean":
            pooled = _masked_mean(x, mask)
        else:
            pooled = x[torch.arange(len(x), device=x.device), self._position(hidden, mask)]
        return self.projection(pooled), x if need_tokens else None

    def _position(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        batch, length = hidden.shape[:2]
        if self.pool == "first":
            return torch.zeros(batch, dtype=torch.int64, device=hidden.device)
        if mask is None:
            return torch.full((batch,), length - 1, device=hidden.device)
        return mask.sum(dim=1) - 1

    def _allowed(self, hidden: Tensor, mask: Tensor | None) -> Tensor | None:
        length = hidden.shape[1]
        if self.causal:
            # Padding stands behind the real tokens, which cannot see it.
            return torch.ones(1, 1, length, length, dtype=torch.bool, device=hidden.device).tril()
        if mask is None:
            return None
        return mask[:, None, None, :].expand(-1, 1, length, -1)


class EfficientNetTail(nn.Module):
    """The last MBConv blocks of EfficientNet-Lite0, the final 1 x 1 convolution and the mean.

    Batch norms stay in eval mode: a batch of one tail's inputs says little of the corpus, and the
    running statistics belong to the pre-trained features.
    """

    embedding_dim = 1280

    def __init__(self, layers: int) -> None:
        """Builds the tail with random weights; `layers` is the number of blocks."""
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_name("efficientnet-lite0")
        self.blocks = nn.ModuleList(list(net._blocks)[len(net._blocks) - layers :])
        self.conv_head, self.bn_head, self.activation = net._conv_head, net._bn1, net._swish

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool
    ) -> tuple[Tensor, Tensor | None]:
        """As `TransformerTail.forward`; `hidden` is a flattened square map, `mask` must be None."""
        side = round(hidden.shape[1] ** 0.5)
        x = hidden.transpose(1, 2).unflatten(2, (side, side))  # (B, H, side, side)
        for block in self.blocks:
            x = block(x)
        features = self.activation(self.bn_head(self.conv_head(x)))
        return features.mean(dim=(2, 3)), x.flatten(2).transpose(1, 2) if need_tokens else None

    def train(self, mode: bool = True) -> "EfficientNetTail":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def build(config: Mapping[str, Any], dropout: float = 0.0) -> nn.Module:
    """Builds the tail that `config`, of a `TailSpec`, describes, with random weights.

    Raises:
        UserError: an activation that is not known.
    """
    values = {key: value for key, value in config.items() if key != "kind"}
    if config["kind"] == "transformer":
        return TransformerTail(TransformerConfig(**values), dropout)
    return EfficientNetTail(**values)


def check_weights(tail: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Checks that `weights` are all that `tail` has; `source` stands in front of the message.

    Raises:
        UserError: one is missing, unexpected or of another shape.
    """
    loading.check(tail, weights, source, "run `dvc repro preprocess` again")


def _masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean over the real tokens: (B, T, H), (B, T) -> (B, H)."""
    if mask is None:
        return x.mean(dim=1)
    weights = mask.to(x.dtype).unsqueeze(-1)
    return (x * weights).sum(dim=1) / weights.sum(dim=1)
