"""Applies a model to a data set."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from sentifuse.dataset import Dataset, Needs, ViewChoice
from sentifuse.ensemble import Ensemble
from sentifuse.model import Classifier

# States of more samples than these no longer fit the cache: 256 take three times as long.
_BATCH = 32


def predict(model: Classifier | Ensemble, data: Dataset, views: ViewChoice) -> Tensor:
    """Logits (N, C) of every sample of `data`, in order; the model ends in eval mode."""
    logits: Tensor = predict_without(model, data, views, [()])
    return logits.squeeze(0)


@torch.inference_mode()
def predict_without(
    model: Classifier | Ensemble,
    data: Dataset,
    views: ViewChoice,
    absences: Sequence[Collection[str]],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What `predict` gives when modalities are absent.

    Args:
        model: the classifier, or several that vote.
        data: N samples, gathered once, a batch at a time.
        views: which views of an image the model sees.
        absences: A sets of modalities to do without, each of `image` and `text`.
        dtype: of the weights of `model`.

    Returns:
        Logits (A, N, C) in `dtype`.
    """
    model.eval()
    needs = Needs.of(model)
    out = torch.empty(len(absences), len(data), len(model.config.labels), dtype=dtype)
    for index in data.in_order(_BATCH, by_length=needs.text_states):
        batch = data.batch(index, needs, views).to(dtype)
        out[:, index] = model.without(batch, absences).to(dtype)
    return out
