"""A CLIP model of transformers whose linear layers multiply in bfloat16 or float16.

The sum over the layers, norms, embeddings and projections stay float32: they cost next to nothing, and are
what a sum over twelve layers loses its digits in. `torch.autocast` casts weights in every call instead, and
takes 1.3 times as long.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class _Linear(nn.Linear):
    """Multiplies in the precision of its weights, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


def lowered(model: Any, precision: str) -> Any:
    """Returns a `CLIPModel` that shares with `model` all weights but those that are cast.

    Args:
        model: a `CLIPModel` in float32; it stays as it is.
        precision: a key of `DTYPES`.
    """
    dtype = DTYPES[precision]
    low = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    for tower in (low.text_model, low.vision_model):
        for layer in tower.encoder.layers:
            mlp = layer.mlp
            if mlp.config.hidden_act == "quick_gelu":
                # x sigmoid(1.702 x) = silu(1.702 x) / 1.702, which is one pass over x instead of three.
                _cast(mlp.fc1, dtype, weight_scale=1.702, bias_scale=1.702)
                _cast(mlp.fc2, dtype, weight_scale=1 / 1.702)
                mlp.activation_fn = nn.SiLU(inplace=True)
            for module in layer.modules():
                if isinstance(module, nn.Linear) and module.weight.dtype != dtype:
                    _cast(module, dtype)
    _cast(low.vision_model.embeddings.patch_embedding, dtype)
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
    if isinstance(module, nn.Linear):
        module.__class__ = _Linear
