"""Which parameter learns how fast, and when."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from sentifuse.config.recipe import Schedule
from sentifuse.models.classifier import Classifier


def parameter_groups(
    model: Classifier, *, lr_head: float, lr_attn: float, lr_clip: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups the trainable parameters by learning rate.

    Args:
        model: the classifier.
        lr_head: for everything that is in neither of the other two groups.
        lr_attn: for a fusion that attends.
        lr_clip: for the last encoder layer and what follows it.
        layer_decay: each layer further down has the rate of the one above times this (Howard and
            Ruder 2018, arXiv:1801.06146); 1 for one rate.

    Returns:
        Groups for an optimizer, the head's first; every parameter is in just one.
    """
    groups: dict[float, list[nn.Parameter]] = {lr_head: []}
    for name, parameter in model.named_parameters():
        part, *path = name.split(".")
        if part in ("image_tail", "text_tail"):
            rate = lr_clip
            if path[0] in ("layers", "blocks"):
                depth = len(getattr(getattr(model, part), path[0]))
                rate *= layer_decay ** (depth - 1 - int(path[1]))
        elif part == "fusion" and model.needs_tokens:
            rate = lr_attn
        else:
            rate = lr_head
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items() if parameters]


def per_step(optimizer: torch.optim.Optimizer, schedule: Schedule, steps: int) -> LambdaLR | None:
    """What changes the rates after each step; None for `plateau`, which does so after epochs.

    For `cosine`: linear warm-up over the first `warmup` of all steps, then cosine decay to zero (Loshchilov
    and Hutter 2017, arXiv:1608.03983, without restarts).

    Args:
        optimizer: whose rates.
        schedule: the section of the stage.
        steps: of the whole training.
    """
    if schedule.schedule == "plateau":
        return None
    warmup = schedule.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / max(steps - warmup, 1))))

    return LambdaLR(optimizer, factor)
