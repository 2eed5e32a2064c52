"""`fit`: the one training loop, for both stages and everything that is trained for comparison."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from sentifuse.config.recipe import Schedule, Stage1, Stage2, StageRecipe
from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.features.parts import Parts
from sentifuse.metrics.scores import headline
from sentifuse.models.classifier import Classifier
from sentifuse.models.inference import predict
from sentifuse.runtime import precision
from sentifuse.training.data_parallel import DataParallel
from sentifuse.training.learning_rates import parameter_groups, scheduler
from sentifuse.training.losses import Criterion
from sentifuse.training.optimizer import AdamW
from sentifuse.training.prefetch import Prefetch
from sentifuse.training.resume import Loop, Resume
from sentifuse.training.step import Step

# The columns of the training history.
HISTORY = ("epoch", "train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr_head")

OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Hooks:
    """What goes on beside training.

    Attributes:
        on_epoch: called with each row of the history, those from before a kill included.
        resume: keeps the state of each epoch, and gives back what a killed run left; None for neither.
    """

    on_epoch: OnEpoch = lambda row: None
    resume: Resume | None = None


NO_HOOKS = Hooks()


@dataclass(frozen=True)
class Fitted:
    """How `fit` trained the model.

    Attributes:
        history: one row per epoch, keys `HISTORY`; without a validation part its scores are absent.
        best_epoch: the epoch whose weights the model has; 0 if none was better than the start.
        val: `accuracy` and `macro_f1` on validation at that epoch; empty without a validation part.
        precision: of the forward passes, `fp32` or `bf16`.
        device: where it was trained, `cpu` or `cuda`.
        doubted: how many labels of the training part `loss.noise` left out or gave less weight.
    """

    history: list[dict[str, float]]
    best_epoch: int
    val: dict[str, float]
    precision: str
    device: str = "cpu"
    doubted: int = 0


def fit(
    model: Classifier,
    parts: Parts,
    recipe: StageRecipe[Stage1 | Stage2],
    *,
    seed: int,
    start: Mapping[str, Tensor] | None = None,
    hooks: Hooks = NO_HOOKS,
) -> Fitted:
    """Trains `model` in place and leaves it with its best weights, in eval mode.

    AdamW; the weights of the epoch with the highest macro-F1 on validation are kept. Without a
    validation part training runs for all epochs and the last weights are kept.

    Args:
        model: on the device to train on.
        parts: the data; `train` is not empty, `val` may be.
        recipe: how to train.
        seed: of shuffling, dropout and drawn views.
        start: weights that compete with those of the epochs for the best on validation, as epoch 0.
        hooks: what goes on beside.

    Raises:
        UserError: a loss, a gradient or a logit is NaN or infinite, or the loss does not fit the data.
    """
    schedule, views = recipe.schedule, recipe.image_views
    device = model.device.type
    computes_in = precision.of_training(schedule.precision, device)
    criterion = Criterion.of(recipe.loss, parts)
    groups = parameter_groups(model, schedule)
    # Fused: one pass over the weights in each step instead of ten.
    optimizer = AdamW(groups, weight_decay=schedule.weight_decay, fused=True)
    rates = scheduler(optimizer, schedule, len(parts.train))
    loop = Loop(model, optimizer, rates, np.random.default_rng(seed))
    validate = partial(_validate, model, parts.val, criterion, views.predict)
    kept = None if hooks.resume is None else hooks.resume.enter(loop, parts, recipe, start)
    if kept is not None and kept.restore(loop):
        for row in loop.history:
            hooks.on_epoch(row)
    elif start is not None and len(parts.val):
        _begin_with(loop, start, validate)
    step = Step(model, criterion.to(model.device), precision=computes_in)
    gradients = _gradients(step, parts.train, recipe)
    while not _finished(loop, schedule):
        lr = optimizer.param_groups[0]["lr"]
        loss = _epoch(loop, parts.train, gradients, schedule.batch_size, schedule.max_grad_norm)
        scores = validate()
        if isinstance(rates, ReduceLROnPlateau) and scores:
            rates.step(scores["macro_f1"])
        _record(loop, loss, scores, lr)
        if kept is not None:
            kept.save(loop)
        hooks.on_epoch(loop.history[-1])
    if loop.best is not None:
        model.load_state_dict(loop.best)
    model.eval()
    best_epoch = len(loop.history) if loop.best is None else loop.best_epoch
    val = {name: score for name, score in loop.best_val.items() if name != "loss"}
    return Fitted(loop.history, best_epoch, val, computes_in, device)


def _gradients(
    step: Step, train: Dataset, recipe: StageRecipe[Stage1 | Stage2]
) -> DataParallel | Prefetch:
    views = recipe.image_views.train
    if step.device.type == "cpu":
        return DataParallel(step, train, views, recipe.schedule.threads)
    return Prefetch(step, train, views)


def _begin_with(
    loop: Loop, start: Mapping[str, Tensor], validate: Callable[[], dict[str, float]]
) -> None:
    """Makes `start` the best weights so far; the model keeps its own."""
    own, loop.best = copy.deepcopy(loop.model.state_dict()), copy.deepcopy(dict(start))
    loop.model.load_state_dict(loop.best)
    loop.best_val = validate()
    loop.model.load_state_dict(own)


def _finished(loop: Loop, schedule: Schedule) -> bool:
    done, patience = len(loop.history), schedule.early_stop_patience
    validated = bool(loop.best_val)
    return done >= schedule.epochs or (validated and 0 < patience <= done - loop.best_epoch)


def _epoch(
    loop: Loop,
    train: Dataset,
    gradients: DataParallel | Prefetch,
    batch_size: int,
    max_grad_norm: float,
) -> float:
    """Trains on every sample once; returns their mean loss."""
    loop.model.train()
    parameters = list(loop.model.parameters())
    total = 0.0
    batches = train.epoch(batch_size, loop.rng, by_length=loop.model.needs.hidden)
    for step, (index, loss) in enumerate(gradients.each(batches, loop.rng), start=1):
        norm = float(nn.utils.clip_grad_norm_(parameters, max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            train.check_features(index)
            raise UserError(
                f"epoch {len(loop.history) + 1}, step {step}: the loss is {loss:g} and the norm of its "
                f"gradient {norm:g}, expected finite numbers: lower the learning rates (lr_head, lr_attn, "
                "lr_clip), or set precision to fp32, in stage1 or stage2, whichever it is"
            )
        total += loss * len(index)
        loop.optimizer.step()
        if isinstance(loop.scheduler, LambdaLR):
            loop.scheduler.step()
    return total / len(train)


def _validate(
    model: Classifier, val: Dataset, criterion: Criterion, views: ViewChoice
) -> dict[str, float]:
    """`loss`, `accuracy` and `macro_f1`; empty without samples."""
    if not len(val):
        return {}
    logits = predict(model, val, views)
    # Logit adjustment shifts the logits in training only.
    plain = replace(criterion, log_prior=None)
    scores = headline(val.targets.numpy(), logits.argmax(dim=1).numpy(), logits.shape[1])
    return {"loss": plain(logits, val.targets).item(), **scores}


def _record(loop: Loop, train_loss: float, scores: dict[str, float], lr: float) -> None:
    """Ends an epoch: adds its row, and keeps its weights if they are the best so far."""
    epoch = len(loop.history) + 1
    if scores and (loop.best is None or scores["macro_f1"] > loop.best_val["macro_f1"]):
        loop.best, loop.best_epoch = copy.deepcopy(loop.model.state_dict()), epoch
        loop.best_val = scores
    validation = {f"val_{name}": value for name, value in scores.items()}
    loop.history.append({"epoch": epoch, "train_loss": train_loss, **validation, "lr_head": lr})
