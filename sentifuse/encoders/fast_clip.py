"""CLIP's two towers in bfloat16 or float16, as few large matrix products as there can be.

The same sums as `transformers.CLIPModel` makes, faster: weights are cast once, query, key and value are
one product, the patch embedding is one, and the last layer computes only the token that is pooled where no
other is asked for. Activations between the layers, norms and the projection stay float32: they cost next
to nothing, and are what a sum over twelve layers loses its digits in.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.encoders.interface import Encoded

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
        self.layers = [_Layer(layer, causal, dtype) for layer in layers]
        self.registered = nn.ModuleList(self.layers)  # for `to`; a plain list keeps their type
        self.norm, self.projection, self.pool = norm, projection, pool

    def forward(self, x: Tensor, split: int, tokens: bool) -> Encoded:
        """Encodes (B, T, H) float32, what enters the first layer, and overwrites it."""
        hidden = None
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            if index == len(self.layers) - split:
                hidden = x.clone()  # layers work in place
            x = layer(x, None if tokens or index < last else self.pool)
        x = self.norm(x)  # (B, T, H), or (B, 1, H) of the pooled token
        return Encoded(self.projection(x[:, self.pool]), x if tokens else None, hidden)


class Text(nn.Module):
    """Token ids (B, T), which end with end-of-text -> `Encoded`."""

    def __init__(self, model: Any, precision: str, device: str) -> None:
        """Takes the weights of a `CLIPModel`, in a `precision` of `DTYPES`, to `device`."""
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
        _settle(self, device)

    def forward(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        """As `TextEncoder.encode`."""
        x = self.token(ids) + self.position.weight[: ids.shape[1]]
        encoded: Encoded = self.tower(x, split, tokens)
        return encoded


class Vision(nn.Module):
    """Pixels (B, 3, S, S) -> `Encoded`."""

    def __init__(self, model: Any, precision: str, device: str) -> None:
        """Takes the weights of a `CLIPModel`, in a `precision` of `DTYPES`, to `device`."""
        super().__init__()
        tower = model.vision_model
        embeddings = tower.embeddings
        self.patch_size: int = embeddings.patch_size
        # A convolution whose patches do not overlap is one product.
        patch = embeddings.patch_embedding.weight.flatten(1)
        self.patch = _linear([patch], [], DTYPES[precision])
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
        _settle(self, device)

    def forward(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        """As `ImageEncoder.encode`."""
        batch, _, side, _ = pixels.shape
        count, size = side // self.patch_size, self.patch_size
        # What is left over beside the last patch is seen by none, as by the convolution.
        seen = pixels[..., : count * size, : count * size].to(self.patch.weight.dtype)
        patches = seen.reshape(batch, 3, count, size, count, size)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, count * count, -1)
        x = torch.cat([self.class_token.expand(batch, 1, -1), self.patch(patches).float()], dim=1)
        encoded: Encoded = self.tower(self.norm(x + self.position.weight), split, tokens)
        return encoded


class _Layer(nn.Module):
    """x += attention(norm(x)), then x += mlp(norm(x))."""

    def __init__(self, layer: Any, causal: bool, dtype: torch.dtype) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.heads: int = attention.num_heads
        self.causal, self.dtype = causal, dtype
        self.norm1, self.norm2 = layer.layer_norm1, layer.layer_norm2
        # What scales a product goes into its weights, before they are rounded.
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        scale = attention.head_dim**-0.5
        self.qkv = _linear(
            [scale * q.weight, k.weight, v.weight], [scale * q.bias, k.bias, v.bias], dtype
        )
        self.out = _linear([attention.out_proj.weight], [attention.out_proj.bias], dtype)
        # x sigmoid(1.702 x) = silu(1.702 x) / 1.702, which is one pass over x.
        quick_gelu = mlp.config.hidden_act == "quick_gelu"
        scale = 1.702 if quick_gelu else 1.0
        self.fc1 = _linear([scale * mlp.fc1.weight], [scale * mlp.fc1.bias], dtype)
        self.fc2 = _linear([mlp.fc2.weight / scale], [mlp.fc2.bias], dtype)
        self.activation: nn.Module = nn.SiLU(inplace=True) if quick_gelu else mlp.activation_fn

    def forward(self, x: Tensor, pool: int | None) -> Tensor:
        """(B, T, H) -> the same, or (B, 1, H): the token at `pool` alone, which attends to all."""
        qkv = self.qkv(self.norm1(x).to(self.dtype)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)  # (B heads, T, H / heads) each
        if pool is not None:
            q, x = q[:, [pool]], x[:, [pool]]
        # Some twice as fast as `scaled_dot_product_attention` on a processor, for as few tokens as here.
        scores = (q @ k.mT).float()  # (B heads, T, T)
        if self.causal and pool is None:
            later = torch.ones(scores.shape[1:], dtype=torch.bool, device=x.device).triu(1)
            scores.masked_fill_(later, -torch.inf)
        mixed = (scores.softmax(-1).to(self.dtype) @ v).unflatten(0, (len(x), self.heads))
        x += self.out(mixed.transpose(1, 2).flatten(2))
        x += self.fc2(self.activation(self.fc1(self.norm2(x).to(self.dtype))))
        return x


class _Linear(nn.Module):
    """x W^T + b; on a processor with W laid out for its kernels once, instead of in every call."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight: Tensor
        self.bias: Tensor | None
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.packed = False

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self.weight, self.bias, "none", [], ""
            )
            return product
        return F.linear(x, self.weight, self.bias)

    def pack(self) -> None:
        """Lays the weight out, some 8% faster, if this torch can: the operators are private to it.

        The bits of what comes out are the same.
        """
        plain = self.weight
        try:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(plain)
            self.packed = True
            self(plain[:1])
        except (AttributeError, RuntimeError, TypeError):
            self.weight, self.packed = plain, False


def _settle(module: nn.Module, device: str) -> None:
    module.eval().to(device)
    if device == "cpu":
        for each in module.modules():
            if isinstance(each, _Linear):
                each.pack()


def _linear(weights: Sequence[Tensor], biases: Sequence[Tensor], dtype: torch.dtype) -> _Linear:
    """One product in place of several of the same input."""
    bias = torch.cat([each.detach() for each in biases]).to(dtype) if biases else None
    return _Linear(torch.cat([each.detach() for each in weights]).to(dtype), bias)
