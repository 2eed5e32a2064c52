"""What text and image each contributed to a prediction: the exact Shapley value of two players.

The Shapley value (Shapley 1953) is a player's gain averaged over the orders in which the players can join;
with two there are two orders, so it takes four forward passes and no sampling.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentifuse.metrics.softmax import Logits, softmax

Floats = NDArray[np.float64]

# The four coalitions, by who is absent.
COALITIONS = ((), ("image",), ("text",), ("image", "text"))


@dataclass(frozen=True)
class Attribution:
    """Probabilities, and what each modality contributes to them.

    For every class `base + text + image` is its probability. A contribution is positive where the
    modality makes the class more probable.

    Attributes:
        logits: (N, C), of the model that sees both.
        probabilities: (N, C), of the same, with the temperature.
        base: (N, C), of the model that sees neither.
        text: (N, C) contribution of the text, -1..1.
        image: (N, C) contribution of the image, -1..1.
    """

    logits: Floats
    probabilities: Floats
    base: Floats
    text: Floats
    image: Floats


def coalitions(absent: Collection[str]) -> list[set[str]]:
    """`COALITIONS` of samples that lack the modalities `absent`: these contribute nothing."""
    return [{*coalition, *absent} for coalition in COALITIONS]


def contributions(logits: Logits, temperature: float) -> Attribution:
    """Logits (4, N, C) of the model for each of `coalitions` -> what each modality contributes."""
    both, text, image, neither = softmax(logits, temperature)
    return Attribution(
        logits=logits[0],
        probabilities=both,
        base=neither,
        text=((text - neither) + (both - image)) / 2,
        image=((image - neither) + (both - text)) / 2,
    )
