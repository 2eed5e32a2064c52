"""How much text and image each contributed to a prediction: the exact Shapley value of two players."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sentifuse.calibration import softmax
from sentifuse.dataset import Dataset, ViewChoice
from sentifuse.metrics import Array
from sentifuse.model import Classifier, Ensemble
from sentifuse.training import predict_without

# The four coalitions, by who is absent.
_COALITIONS = ((), ("image",), ("text",), ("image", "text"))


@dataclass(frozen=True)
class Attribution:
    """Probabilities, and what they owe to each modality.

    For every class `base + text + image` is its probability. A contribution is positive where the
    modality speaks for the class.

    Attributes:
        logits: (N, C), of the model that sees both.
        probabilities: (N, C), of the same, with the temperature.
        base: (N, C), of the model that sees neither.
        text: (N, C) contribution of the text, -1..1.
        image: (N, C) contribution of the image, -1..1.
    """

    logits: NDArray[np.float32]
    probabilities: Array
    base: Array
    text: Array
    image: Array


def attribute(
    model: Classifier | Ensemble, data: Dataset, views: ViewChoice, temperature: float
) -> Attribution:
    """Runs the model with both modalities, with each alone and with neither.

    The Shapley value (Shapley 1953) is a player's gain averaged over the orders in which the players can
    join; with two there are two orders, so it takes four forward passes and no sampling. An absent
    modality is what it is to a unimodal model: zeros after its layer norm.

    Args:
        model: the classifier, or several that vote.
        data: N samples.
        views: which views of an image the model sees.
        temperature: of the probabilities.
    """
    # One thread, so that the last digits do not depend on the number of cores.
    torch.set_num_threads(1)
    logits = predict_without(model, data, views, _COALITIONS).numpy()
    both, text, image, neither = softmax(logits, temperature)
    return Attribution(
        logits=logits[0],
        probabilities=both,
        base=neither,
        text=((text - neither) + (both - image)) / 2,
        image=((image - neither) + (both - text)) / 2,
    )
