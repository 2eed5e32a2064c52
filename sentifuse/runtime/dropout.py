"""Dropout whose masks come from a generator of the caller's.

torch's own draws from one generator for all threads of a process, so that the order in which they happen to
run would decide on the masks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# 16 random bits decide on an element: with torch's 32, drawing the mask takes most of the time.
_DRAWS = 2**16

# The generator of the current thread; None for torch's own.
_generator: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Within the block the masks of this thread come from `generator`, which is on the device of the data."""
    before = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(before)


class Dropout(nn.Module):
    """Zeros a share of the elements while training, and scales the others up to the same mean.

    The share is rounded to a multiple of 1 / 65536 (Srivastava et al. 2014, JMLR 15:1929-1958).
    """

    def __init__(self, p: float) -> None:
        """Drops each element with probability `p`, 0 <= p < 1."""
        super().__init__()
        self.p = p
        self._dropped = min(round(p * _DRAWS), _DRAWS - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Drops elements of `x`, of any shape."""
        if not self.training or not self._dropped:
            return x
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
        draws.random_(-(2**63), None, generator=_generator.get())
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = bits >= self._dropped - _DRAWS // 2
        return x * kept.to(x.dtype).mul_(_DRAWS / (_DRAWS - self._dropped))

    def extra_repr(self) -> str:
        """What stands in the parentheses when the model is printed."""
        return f"p={self.p}"
