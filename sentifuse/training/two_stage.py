"""The two stages of progressive finetuning (head first, then the last encoder layers with it)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sentifuse.config.recipe import Head, ImageViews, Loss, Schedule, Stage1, Stage2
from sentifuse.errors import UserError
from sentifuse.features.batches import Parts
from sentifuse.features.schema import Meta
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.tails import check_weights
from sentifuse.training.learning_rates import parameter_groups
from sentifuse.training.loop import Fitted, fit
from sentifuse.training.losses import Criterion, class_weights
from sentifuse.training.resume import Resume

OnEpoch = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Architecture:
    """What the classifier is made of: the keys of `params.yaml` with these names."""

    fusion: str
    input_mode: str
    head: Head


@dataclass(frozen=True)
class Trained:
    """A model in eval mode and how it was trained."""

    model: Classifier
    fitted: Fitted


def train_stage1(
    parts: Parts,
    architecture: Architecture,
    loss: Loss,
    views: ImageViews,
    schedule: Stage1,
    *,
    seed: int,
    on_epoch: OnEpoch = lambda row: None,
    resume: Resume | None = None,
) -> Trained:
    """Trains fusion and head on the cached embeddings of frozen encoders.

    Raises:
        UserError: nothing to train on, or a recipe that does not fit the features.
    """
    if not len(parts.train):
        raise UserError("split: no training rows")
    torch.manual_seed(seed)
    model = Classifier(_config(parts, architecture))
    fitted = _fit(model, parts, loss, views, schedule, 0.0, 1.0, seed, on_epoch, resume)
    return Trained(model, fitted)


def train_stage2(
    start: Classifier,
    parts: Parts,
    weights: Mapping[str, Mapping[str, Tensor] | None],
    loss: Loss,
    views: ImageViews,
    schedule: Stage2,
    *,
    seed: int,
    on_epoch: OnEpoch = lambda row: None,
    resume: Resume | None = None,
) -> Trained:
    """Finetunes the encoder tails together with fusion and head.

    Never ends worse on validation than stage 1 did: its weights compete for the best epoch. With
    `schedule.restart_head` training itself starts from a new head.

    Args:
        start: stage 1's model.
        parts: the data, with the hidden states that enter the tails.
        weights: the pre-trained weights of the tails, as of `tail_weights`.
        loss: the section `loss`.
        views: the section `image_views`.
        schedule: the section `stage2`.
        seed: of shuffling and dropout.
        on_epoch: called with each row of the history.
        resume: as in `training.fit`.

    Raises:
        UserError: a tail's weights are not those that it is made of, or training fails.
    """
    torch.manual_seed(seed)
    meta = parts.train.features.meta
    model = Classifier(
        replace(
            start.config,
            image_tail=meta.image_tail,
            text_tail=meta.text_tail,
            tail_dropout=schedule.encoder_dropout,
        )
    )
    for name, tail in (("image", model.image_tail), ("text", model.text_tail)):
        if tail is not None:
            check_weights(tail, weights[name] or {}, f"data/features/{name}_tail.safetensors")
    pretrained = {
        f"{name}_tail.{key}": value
        for name, tail in (("image", model.image_tail), ("text", model.text_tail))
        for key, value in ((weights[name] or {}) if tail is not None else {}).items()
    }
    stage1 = {**start.state_dict(), **pretrained}
    fresh = schedule.restart_head and schedule.epochs > 0
    begin = {**model.state_dict(), **pretrained} if fresh else stage1
    model.load_state_dict(begin)
    fitted = _fit(
        model, parts, loss, views, schedule, schedule.lr_clip, schedule.layer_decay, seed, on_epoch,
        resume, start=stage1, threads=schedule.threads,
    )  # fmt: skip
    return Trained(model, fitted)


def train_members(
    start: Classifier,
    parts: Parts,
    weights: Mapping[str, Mapping[str, Tensor] | None],
    loss: Loss,
    views: ImageViews,
    schedule: Stage2,
    *,
    seed: int,
    on_epoch: OnEpoch = lambda row: None,
    resume: Resume | None = None,
) -> tuple[Classifier | Ensemble, list[Fitted]]:
    """Runs `train_stage2` with `schedule.members` seeds, `seed` and those after it.

    Returns:
        The model, an ensemble if there are several, and how each member was trained.
    """
    trained = [
        train_stage2(
            start,
            parts,
            weights,
            loss,
            views,
            schedule,
            seed=seed + member,
            on_epoch=on_epoch,
            resume=resume,
        )
        for member in range(schedule.members)
    ]
    models = [member.model for member in trained]
    model = models[0] if len(models) == 1 else Ensemble(models)
    return model, [member.fitted for member in trained]


def tail_weights(folder: Path, meta: Meta) -> dict[str, dict[str, Tensor] | None]:
    """The pre-trained weights of the tails that `data/features/` holds, by modality.

    Raises:
        UserError: a file is missing or damaged.
    """
    tails = (("image", meta.image_tail), ("text", meta.text_tail))
    return {
        name: _read(folder / f"{name}_tail.safetensors") if config else None
        for name, config in tails
    }


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: run `dvc repro preprocess`") from None
    except safetensors.SafetensorError as error:
        raise UserError(
            f"{path}: damaged ({error}): delete it and run `dvc repro`, after "
            "`python -m sentifuse mend` if it comes back"
        ) from None


def _config(parts: Parts, architecture: Architecture) -> ModelConfig:
    meta = parts.train.features.meta
    return ModelConfig(
        labels=list(parts.labels),
        fusion=architecture.fusion,
        input_mode=architecture.input_mode,
        hidden_dims=list(architecture.head.hidden_dims),
        dropout=architecture.head.dropout,
        image_dim=meta.image_dim,
        text_dim=meta.text_dim,
        image_token_dim=meta.image_token_dim,
        text_token_dim=meta.text_token_dim,
    )


def _fit(
    model: Classifier,
    parts: Parts,
    loss: Loss,
    views: ImageViews,
    schedule: Schedule,
    lr_clip: float,
    layer_decay: float,
    seed: int,
    on_epoch: OnEpoch,
    resume: Resume | None,
    start: Mapping[str, Tensor] | None = None,
    # A batch of stage 1 is too small to share out.
    threads: int = 1,
) -> Fitted:
    return fit(
        model,
        parts.train,
        parts.val,
        parameter_groups(
            model,
            lr_head=schedule.lr_head,
            lr_attn=schedule.lr_attn,
            lr_clip=lr_clip,
            layer_decay=layer_decay,
        ),
        _criterion(parts, loss),
        schedule,
        seed=seed,
        train_views=views.train,
        predict_views=views.predict,
        start=start,
        threads=threads,
        on_epoch=on_epoch,
        resume=resume,
    )


def _criterion(parts: Parts, loss: Loss) -> Criterion:
    counts = torch.bincount(parts.train.targets, minlength=len(parts.labels))
    weights = class_weights(loss.class_weights, counts.tolist(), parts.labels)
    prior = None
    if loss.logit_adjustment:
        if counts.min() == 0:
            absent = parts.labels[int(counts.argmin())]
            raise UserError(
                f"loss.logit_adjustment: {loss.logit_adjustment}: no training sample of {absent!r}"
            )
        prior = loss.logit_adjustment * (counts / counts.sum()).log()
    return Criterion(weights, loss.label_smoothing, prior)
