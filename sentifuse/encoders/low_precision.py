"""A copy of an encoder whose large products are in bfloat16 or float16.

The sum over the layers, norms, embeddings and projections stay float32: they cost next to nothing, and are
what a sum over twelve layers loses its digits in. `torch.autocast` casts weights in every call instead, and
takes 1.3 times as long.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.encoders.transformer_layer import ACTIVATIONS, TransformerLayer

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _Linear(nn.Linear):
    """Multiplies in the precision of its weights, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class _Conv2d(nn.Conv2d):
    """The same for the convolution that makes patches into states."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


def lowered(model: nn.Module, precision: str) -> nn.Module:
    """Returns a copy that shares with `model` all weights but those that are cast.

    Args:
        model: a `Transformer`, or the stem before one, in float32; it stays as it is.
        precision: a key of `DTYPES`.
    """
    dtype = DTYPES[precision]
    low = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    for layer in low.modules():
        if isinstance(layer, nn.Conv2d):
            _cast(layer, dtype)
        if not isinstance(layer, TransformerLayer):
            continue
        if layer.activation is ACTIVATIONS["quick_gelu"]:
            # x sigmoid(1.702 x) = silu(1.702 x) / 1.702, which is one pass over x instead of three.
            _cast(layer.fc1, dtype, weight_scale=1.702, bias_scale=1.702)
            _cast(layer.fc2, dtype, weight_scale=1 / 1.702)
            layer.activation = nn.SiLU(inplace=True)
        for module in layer.modules():
            if isinstance(module, nn.Linear) and module.weight.dtype != dtype:
                _cast(module, dtype)
    return low


def _cast(
    module: nn.Linear | nn.Conv2d,
    dtype: torch.dtype,
    weight_scale: float = 1.0,
    bias_scale: float = 1.0,
) -> None:
    """Gives `module` weights of its own in `dtype`; scaled before they are rounded."""
    for name, scale in (("weight", weight_scale), ("bias", bias_scale)):
        values = getattr(module, name)
        if values is not None:
            cast = (scale * values.detach()).to(dtype)
            setattr(module, name, nn.Parameter(cast, requires_grad=False))
    module.__class__ = _Linear if isinstance(module, nn.Linear) else _Conv2d
