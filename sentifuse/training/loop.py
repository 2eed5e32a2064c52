"""`fit`: the one training loop, for both stages and for the ablations."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from sentifuse.config.recipe import Schedule
from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.features.schema import Features
from sentifuse.metrics.scores import headline
from sentifuse.models.classifier import Classifier
from sentifuse.models.inference import predict
from sentifuse.runtime import precision
from sentifuse.training import learning_rates
from sentifuse.training.data_parallel import DataParallel
from sentifuse.training.losses import Criterion
from sentifuse.training.optimizer import AdamW
from sentifuse.training.resume import Loop, Resume

# Rows of the training history, in the order of the columns of the CSV file.
HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr_head")
_PLATEAU_FACTOR, _PLATEAU_PATIENCE = 0.5, 2


@dataclass(frozen=True)
class Fitted:
    """What `fit` did, beside training the model in place.

    Attributes:
        history: a row an epoch, keys `HISTORY`; without a validation part its scores are absent.
        best_epoch: the epoch whose weights the model has; 0 if none was better than the start.
        val: `accuracy` and `macro_f1` on validation at that epoch; empty without a validation part.
        precision: of the forward passes, `fp32` or `bf16`.
    """

    history: list[dict[str, float]]
    best_epoch: int
    val: dict[str, float]
    precision: str


def fit(
    model: Classifier,
    train: Dataset,
    val: Dataset,
    groups: Sequence[dict[str, Any]],
    criterion: Criterion,
    schedule: Schedule,
    *,
    seed: int,
    train_views: ViewChoice,
    predict_views: ViewChoice,
    start: Mapping[str, Tensor] | None,
    threads: int = 1,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
    resume: Resume | None = None,
) -> Fitted:
    """Trains `model` in place and leaves it with its best weights, in eval mode.

    AdamW; the weights of the epoch with the highest macro-F1 on validation are kept. Without a
    validation part training runs for all epochs and the last weights are kept.

    Args:
        model: on the CPU.
        train: to train on, not empty.
        val: to choose the epoch on; may be empty.
        groups: parameter groups of the optimizer, the head's first.
        criterion: the loss.
        schedule: epochs, batch size, rates, precision of the forward passes.
        seed: of shuffling, dropout and drawn views.
        train_views: which views of an image a training batch has.
        predict_views: the same for validation.
        start: weights that compete with those of the epochs for the best on validation, as epoch 0.
        threads: shards of a batch, side by side: see `data_parallel`.
        on_epoch: called with each row of the history.
        resume: where to keep the state of each epoch, and to go on from what a killed run left.

    Raises:
        UserError: a loss, a gradient or a logit is NaN or infinite.
    """
    rng = np.random.default_rng(seed)
    computes_in = precision.resolve(schedule.precision)
    kept = None
    if resume is not None:
        kept = resume.enter(
            {
                "model": [model.config, model.state_dict(), start],
                "features": _read_by(model, train.features),
                "rows": [train.rows, train.targets, val.rows, val.targets],
                "rates": [[group["lr"], len(group["params"])] for group in groups],
                "recipe": [
                    criterion,
                    schedule,
                    computes_in,
                    threads,
                    seed,
                    train_views,
                    predict_views,
                ],
            }
        )
    # Fused: one pass over the weights a step, not ten.
    optimizer = AdamW(groups, weight_decay=schedule.weight_decay, fused=True)
    steps = schedule.epochs * -(-len(train) // schedule.batch_size)
    per_step = learning_rates.per_step(optimizer, schedule, steps)
    plateau = None
    if schedule.schedule == "plateau" and len(val):
        plateau = ReduceLROnPlateau(optimizer, "max", _PLATEAU_FACTOR, _PLATEAU_PATIENCE)
    schedulers = {"per_step": per_step, "plateau": plateau}
    loop = Loop(
        model,
        optimizer,
        {k: v for k, v in schedulers.items() if v is not None},
        rng,
        [],
        None,
        0,
        {},
    )
    if kept is not None and kept.restore(loop):
        for row in loop.history:
            on_epoch(row)
    elif start is not None and len(val):
        fresh, loop.best = copy.deepcopy(model.state_dict()), copy.deepcopy(dict(start))
        model.load_state_dict(loop.best)
        loop.best_val = _validate(model, val, criterion, predict_views)
        model.load_state_dict(fresh)
    with DataParallel(
        model, train, criterion, train_views, precision=computes_in, threads=threads
    ) as gradients:
        while not _finished(loop, schedule, bool(len(val))):
            epoch = len(loop.history) + 1
            lr = optimizer.param_groups[0]["lr"]
            train_loss = _epoch(model, train, gradients, optimizer, per_step, schedule, rng, epoch)
            row = {"epoch": epoch, "train_loss": train_loss}
            if len(val):
                scores = _validate(model, val, criterion, predict_views)
                row |= {f"val_{name}": value for name, value in scores.items()}
                if plateau is not None:
                    plateau.step(scores["macro_f1"])
                if loop.best is None or scores["macro_f1"] > loop.best_val["macro_f1"]:
                    loop.best, loop.best_epoch = copy.deepcopy(model.state_dict()), epoch
                    loop.best_val = scores
            row["lr_head"] = lr
            loop.history.append(row)
            if kept is not None:
                kept.save(loop)
            on_epoch(row)
    if loop.best is not None:
        model.load_state_dict(loop.best)
    else:
        loop.best_epoch = len(loop.history)
    model.eval()
    val_scores = {k: v for k, v in loop.best_val.items() if k != "loss"}
    return Fitted(loop.history, loop.best_epoch, val_scores, computes_in)


def _finished(loop: Loop, schedule: Schedule, validated: bool) -> bool:
    done = len(loop.history)
    patience = schedule.early_stop_patience
    stopped = validated and 0 < patience <= done - loop.best_epoch
    return done >= schedule.epochs or stopped


def _read_by(model: Classifier, features: Features) -> Features:
    """`features` without the states, which may be large, that `model` does not read."""
    needs = model.needs
    texts, images = needs.text_hidden, needs.image_hidden
    return replace(
        features,
        text_hidden=features.text_hidden if texts else None,
        text_tokens=features.text_tokens if needs.tokens and not texts else None,
        image_hidden=features.image_hidden if images else None,
        image_tokens=features.image_tokens if needs.tokens and not images else None,
    )


def _epoch(
    model: Classifier,
    train: Dataset,
    gradients: DataParallel,
    optimizer: torch.optim.Optimizer,
    per_step: LambdaLR | None,
    schedule: Schedule,
    rng: np.random.Generator,
    number: int,
) -> float:
    model.train()
    by_length = model.needs.text_hidden
    parameters = list(model.parameters())
    total = 0.0
    for step, index in enumerate(train.epoch(schedule.batch_size, rng, by_length), start=1):
        loss = gradients.backward(index, rng)
        norm = float(nn.utils.clip_grad_norm_(parameters, schedule.max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            train.check_features(index)
            raise UserError(
                f"epoch {number}, step {step}: the loss is {loss:g} and the norm of its gradient {norm:g}, "
                "expected finite numbers: lower the learning rates (lr_head, lr_attn, lr_clip), or set "
                "precision to fp32, in stage1 or stage2, whichever it is"
            )
        total += loss * len(index)
        optimizer.step()
        if per_step is not None:
            per_step.step()
    return total / len(train)


def _validate(
    model: Classifier, val: Dataset, criterion: Criterion, views: ViewChoice
) -> dict[str, float]:
    logits = predict(model, val, views)
    # Logit adjustment shifts logits while training only.
    plain = Criterion(criterion.weights, criterion.label_smoothing, None)
    scores = headline(val.targets.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])
    return {"loss": plain(logits, val.targets).item(), **scores}
