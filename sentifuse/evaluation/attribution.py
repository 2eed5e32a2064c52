"""What text and image each contributed to the predictions of a model, for all samples of a data set."""

import copy
from collections.abc import Collection

import torch

from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.metrics import shapley
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.inference import predict_without


def attribute(
    model: Classifier | Ensemble,
    data: Dataset,
    views: ViewChoice,
    temperature: float,
    absent: Collection[str] = (),
) -> Attribution:
    """Runs the model with both modalities, with each alone and with neither.

    An absent modality is zeros after its layer norm, as in a unimodal model.

    The model computes in float64, whose rounding is far below six decimals. So the numbers that are written
    for a pair do not depend on which samples share its batch.

    Args:
        model: the classifier, or several that vote.
        data: N samples.
        views: which views of an image the model sees.
        temperature: of the probabilities.
        absent: modalities that the samples lack, of `image` and `text`; they contribute nothing.
    """
    precise = in_float64(model)
    logits = predict_without(precise, data, views, shapley.coalitions(absent), torch.float64)
    return shapley.contributions(logits.numpy(), temperature)


def in_float64(model: Classifier | Ensemble) -> Classifier | Ensemble:
    """`model` if it is in float64, else a copy that is."""
    if all(weight.dtype == torch.float64 for weight in model.parameters()):
        return model
    return copy.deepcopy(model).double()
