"""CLIP's two towers in bfloat16 or float16, as few large matrix products as there can be.

The same sums as `transformers.CLIPModel` makes, faster: weights are cast once, query, key and value are
one product, the patch embedding is one, and the last layer computes only the token that is pooled where no
other is asked for. Activations between the layers, norms and the projection stay float32: they cost next
to nothing, and are what a sum over twelve layers loses its digits in.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.backbones.interface import Encoded

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Tower(nn.Module):
    """The layers of a pre-norm transformer, with the norm and the projection behind them."""

    def __init__(
        self,
        layers: Sequence[Any],
        norm: nn.LayerNorm,
        projection: nn.Linear,
        *,
        causal: bool,
        pool: int,
        dtype: torch.dtype,
    ) -> None:
        """Casts the weights.

        Args:
            layers: `CLIPEncoderLayer`s.
            norm: after the last layer.
            projection: of the pooled token.
            causal: whether a token attends to itself and those before it only.
            pool: place of the pooled token, 0 or -1; it must attend to all others.
            dtype: of the products.
        """
        super().__init__()
        self.layers = [_Layer(layer, causal, pool, dtype) for layer in layers]
        self.registered = nn.ModuleList(self.layers)  # for `to`; a plain list keeps their type
        self.norm, self.projection, self.pool = norm, projection, pool

    def forward(self, x: Tensor, split: int, tokens: bool) -> Encoded:
        """Encodes (B, T, H) float32: what enters the first layer."""
        hidden = None
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            if index == len(self.layers) - split:
                hidden = x
            # (B, T, H), or (B, H) of the pooled token
            x = layer(x) if tokens or index < last else layer.pooled(x)
        x = self.norm(x)
        pooled = x[:, self.pool] if tokens else x
        return Encoded(self.projection(pooled), x if tokens else None, hidden)


class Text(nn.Module):
    """Token ids (B, T), which end with end-of-text -> `Encoded`."""

    def __init__(self, model: Any, precision: str) -> None:
        """Takes the weights of a `CLIPModel`; `precision` is a key of `DTYPES`."""
        super().__init__()
        tower = model.text_model
        self.token = tower.embeddings.token_embedding
        self.position = tower.embeddings.position_embedding
        self.tower = Tower(
            tower.encoder.layers,
            tower.final_layer_norm,
            model.text_projection,
            causal=True,
            pool=-1,
            dtype=DTYPES[precision],
        )

    def forward(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        """As `TextEncoder.encode`."""
        x = self.token(ids) + self.position.weight[: ids.shape[1]]
        encoded: Encoded = self.tower(x, split, tokens)
        return encoded


class Vision(nn.Module):
    """Pixels (B, 3, S, S) -> `Encoded`."""

    def __init__(self, model: Any, precision: str) -> None:
        """Takes the weights of a `CLIPModel`; `precision` is a key of `DTYPES`."""
        super().__init__()
        tower = model.vision_model
        embeddings = tower.embeddings
        self.patch_size: int = embeddings.patch_size
        self.patch = _linear([embeddings.patch_embedding], DTYPES[precision])
        self.class_token = embeddings.class_embedding
        self.position = embeddings.position_embedding
        self.norm = tower.pre_layrnorm
        self.tower = Tower(
            tower.encoder.layers,
            tower.post_layernorm,
            model.visual_projection,
            causal=False,
            pool=0,
            dtype=DTYPES[precision],
        )

    def forward(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        """As `ImageEncoder.encode`."""
        batch, _, side, _ = pixels.shape
        count, size = side // self.patch_size, self.patch_size
        patches = pixels.to(self.patch.weight.dtype).view(batch, 3, count, size, count, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, count * count, -1)
        x = torch.cat([self.class_token.expand(batch, 1, -1), self.patch(patches).float()], dim=1)
        encoded: Encoded = self.tower(self.norm(x + self.position.weight), split, tokens)
        return encoded


class _Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, layer: Any, causal: bool, pool: int, dtype: torch.dtype) -> None:
        super().__init__()
        attention = layer.self_attn
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        self.qkv = _linear([attention.q_proj, attention.k_proj, attention.v_proj], dtype)
        self.out = _linear([attention.out_proj], dtype)
        self.fc1, self.fc2 = _linear([layer.mlp.fc1], dtype), _linear([layer.mlp.fc2], dtype)
        self.activation: Callable[[Tensor], Tensor] = layer.mlp.activation_fn
        self.heads: int = attention.num_heads
        self.causal, self.pool, self.dtype = causal, pool, dtype

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._heads(self.qkv(self.norm1(x).to(self.dtype)), 3)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self._rest(x, mixed)

    def pooled(self, x: Tensor) -> Tensor:
        """(B, T, H) -> (B, H): the pooled token alone, which attends to all."""
        normed = self.norm1(x).to(self.dtype)
        width = x.shape[-1]
        weight, bias = self.qkv.weight, self.qkv.bias
        place = slice(0, 1) if self.pool == 0 else slice(-1, None)
        [q] = self._heads(F.linear(normed[:, place], weight[:width], bias[:width]), 1)
        k, v = self._heads(F.linear(normed, weight[width:], bias[width:]), 2)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self._rest(x[:, place], mixed)[:, 0]

    def _heads(self, x: Tensor, count: int) -> Tensor:
        """(B, T, count H) -> (count, B, heads, T, H / heads)."""
        return x.view(*x.shape[:2], count, self.heads, -1).permute(2, 0, 3, 1, 4)

    def _rest(self, x: Tensor, mixed: Tensor) -> Tensor:
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        hidden = self.activation(self.fc1(self.norm2(x).to(self.dtype)))  # (B, T, 4 H)
        states: Tensor = x + self.fc2(hidden)
        return states


def _linear(modules: Sequence[Any], dtype: torch.dtype) -> nn.Linear:
    """One product in place of several of the same input; a convolution by patches is one, too."""
    weight = torch.cat([module.weight.detach().flatten(1) for module in modules]).to(dtype)
    biases = [module.bias for module in modules]
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=None not in biases, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if None not in biases:
        bias = torch.cat([each.detach() for each in biases]).to(dtype)
        linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
