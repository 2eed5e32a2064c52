"""Applies a model to a data set."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sentifuse.features.batches import Dataset, RowIndices, ViewChoice
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.runtime import finite
from sentifuse.runtime.threads import cores

# The states of more samples do not fit the processor's cache: batches of 256 take three times as long. A GPU
# wants more work at a time.
_BATCH = {"cpu": 32, "cuda": 256}

_MOST_CHECKED = 32  # samples, to explain a logit that is not a number


def predict(model: Classifier | Ensemble, data: Dataset, views: ViewChoice) -> Tensor:
    """Logits (N, C) of every sample of `data`, in order; the model ends in eval mode."""
    logits: Tensor = predict_without(model, data, views, [()])
    return logits.squeeze(0)


def predict_without(
    model: Classifier | Ensemble,
    data: Dataset,
    views: ViewChoice,
    absences: Sequence[Collection[str]],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """What `predict` gives when modalities are absent.

    Where encoder layers run on the CPU, one thread per core works on batches of its own. The logits are the
    same to the bit, however many cores there are.

    Args:
        model: the classifier, or several that vote; it computes where its weights are.
        data: N samples; each is gathered once.
        views: which views of an image the model sees.
        absences: A sets of modalities to do without, each of `image` and `text`.
        dtype: of the weights of `model`.

    Returns:
        Logits (A, N, C) in `dtype`, on the CPU.

    Raises:
        UserError: a logit is NaN or infinite.
    """
    model.eval()
    needs, device = model.needs, model.device
    out = torch.empty(len(absences), len(data), len(model.config.labels), dtype=dtype)

    def answer(index: RowIndices) -> None:
        with torch.inference_mode():  # each thread has a mode of its own
            gathered = data.batch(index, needs, views)
            batch = {key: states.to(dtype).on(device) for key, states in gathered.items()}
            out[:, index] = model.without(batch, absences).to("cpu", dtype)

    batches = data.in_order(_BATCH[device.type], by_length=needs.states)
    threads = cores() if needs.hidden and device.type == "cpu" else 1
    _call_on_each(answer, batches, threads)
    _check(out, data)
    return out


def _call_on_each(
    call: Callable[[RowIndices], None], batches: Sequence[RowIndices], threads: int
) -> None:
    if min(threads, len(batches)) < 2:
        for index in batches:
            call(index)
    else:
        with ThreadPoolExecutor(min(threads, len(batches))) as pool:
            list(pool.map(call, reversed(batches)))  # the longest first, so that all end together


def _check(logits: Tensor, data: Dataset) -> None:
    """Checks logits (A, N, C): the largest of several NaN is the first one, which looks like an answer."""
    values = logits.transpose(0, 1).numpy()
    bad = np.flatnonzero(~np.isfinite(values).all(axis=(1, 2)))
    if len(bad):
        data.check_features(bad[:_MOST_CHECKED])
        finite.check(
            values,
            [f"guid {guid}" for guid in data.guids],
            "logits",
            "training went astray: train again with lower learning rates (lr_head, lr_attn, lr_clip), or "
            "with precision fp32 in stage1 and stage2",
        )
