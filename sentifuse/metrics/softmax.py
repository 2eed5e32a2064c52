"""Logits -> probabilities, in plain numpy."""

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32] | NDArray[np.float64]


def softmax(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(logits / temperature) over the last axis, in float64 so that rows sum to 1 when written."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    out: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return out
