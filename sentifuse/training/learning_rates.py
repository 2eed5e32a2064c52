"""Which parameter learns how fast, and how the rates change while training goes on."""

from collections.abc import Sized
from typing import Any, cast

import numpy as np
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from sentifuse.config.recipe import Stage1, Stage2
from sentifuse.models.classifier import Classifier

_PLATEAU_FACTOR, _PLATEAU_PATIENCE = 0.5, 2


def parameter_groups(model: Classifier, schedule: Stage1 | Stage2) -> list[dict[str, Any]]:
    """Groups the trainable parameters by learning rate.

    The last encoder layer, and what follows it, learns at `lr_clip`; each layer below it at the rate of
    the one above times `layer_decay` (Howard and Ruder 2018, arXiv:1801.06146); a fusion that attends at
    `lr_attn`; everything else at `lr_head`.

    Returns:
        Groups for an optimizer, the head's first; every parameter is in just one.
    """
    groups: dict[float, list[nn.Parameter]] = {schedule.lr_head: []}
    for name, parameter in model.named_parameters():
        part, *path = name.split(".")
        if part == "tails":
            rate = schedule.lr_clip
            key, *path = path
            if path[0] == "layers":
                depth = len(cast(Sized, model.tails[key].layers))
                rate *= schedule.layer_decay ** (depth - 1 - int(path[1]))
        elif part == "fusion" and model.needs_tokens:
            rate = schedule.lr_attn
        else:
            rate = schedule.lr_head
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items() if parameters]


def scheduler(
    optimizer: Optimizer, schedule: Stage1 | Stage2, samples: int
) -> LambdaLR | ReduceLROnPlateau:
    """What changes the rates: after each step for `cosine`, after each validation for `plateau`.

    `cosine` is linear warm-up over the first `warmup` of all steps, then cosine decay to zero (Loshchilov
    and Hutter 2017, arXiv:1608.03983, without restarts).

    Args:
        optimizer: whose rates.
        schedule: the section of the stage.
        samples: how many are trained on.
    """
    if schedule.schedule == "plateau":
        return ReduceLROnPlateau(optimizer, "max", _PLATEAU_FACTOR, _PLATEAU_PATIENCE)
    steps = schedule.epochs * -(-samples // schedule.batch_size)
    warmup = schedule.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return float(0.5 * (1 + np.cos(np.pi * (step - warmup) / max(steps - warmup, 1))))

    return LambdaLR(optimizer, factor)
