"""What text and image each contributed to a prediction: the exact Shapley value of two players."""

import copy
from collections.abc import Collection
from dataclasses import dataclass

import torch

from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.metrics.calibration import softmax
from sentifuse.metrics.scores import Floats
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.inference import predict_without

# The four coalitions, by who is absent.
_COALITIONS = ((), ("image",), ("text",), ("image", "text"))


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


def attribute(
    model: Classifier | Ensemble,
    data: Dataset,
    views: ViewChoice,
    temperature: float,
    absent: Collection[str] = (),
) -> Attribution:
    """Runs the model with both modalities, with each alone and with neither.

    The Shapley value (Shapley 1953) is a player's gain averaged over the orders in which the players can
    join; with two there are two orders, so it takes four forward passes and no sampling. An absent
    modality is zeros after its layer norm, as in a unimodal model.

    The model computes in float64, whose rounding is far below six decimals. So the numbers that are written
    for a pair do not depend on which samples share its batch.

    Args:
        model: the classifier, or several that vote.
        data: N samples.
        views: which views of an image the model sees.
        temperature: of the probabilities.
        absent: modalities that the samples lack, of `image` and `text`; they contribute nothing.
    """
    coalitions = [{*coalition, *absent} for coalition in _COALITIONS]
    precise = in_float64(model)
    logits = predict_without(precise, data, views, coalitions, torch.float64).numpy()
    both, text, image, neither = softmax(logits, temperature)
    return Attribution(
        logits=logits[0],
        probabilities=both,
        base=neither,
        text=((text - neither) + (both - image)) / 2,
        image=((image - neither) + (both - text)) / 2,
    )


def in_float64(model: Classifier | Ensemble) -> Classifier | Ensemble:
    """`model` if it is in float64, else a copy that is."""
    if all(weight.dtype == torch.float64 for weight in model.parameters()):
        return model
    return copy.deepcopy(model).double()
