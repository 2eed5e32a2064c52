"""A linear layer by oneDNN, which is faster than torch's own choice and gives the same bytes everywhere.

On a processor torch multiplies float32 matrices by MKL, which takes twice as long as oneDNN on AMD's
processors with AVX-512, and everywhere with `numerics: portable`, which holds oneDNN to AVX2 and MKL to SSE2.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """`nn.Linear`, forwards and backwards; what oneDNN is not for goes the usual way."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        if (
            x.dtype == self.weight.dtype == torch.float32
            and x.device.type == "cpu"
            and x.numel()
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
        ):
            out: Tensor = F.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()
            return out
        return super().forward(x)


def plain(model: nn.Module) -> None:
    """Undoes `by_onednn`, and makes every `Linear` of `model` a plain one: for `torch.export`."""
    for module in model.modules():
        if type(module) is Linear:
            kept: Any = module
            kept.__class__ = nn.Linear


def by_onednn(model: nn.Module) -> None:
    """Makes every plain linear layer of `model`, which somebody else has written, a `Linear`."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
