"""The two stages of progressive finetuning (head first, then the last encoder layers with it)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sentifuse.config.recipe import Recipe, Stage2, StageRecipe
from sentifuse.errors import UserError
from sentifuse.features.batches import Parts
from sentifuse.features.schema import Meta
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.tails import check_weights
from sentifuse.training.loop import NO_HOOKS, Fitted, Hooks, fit

# The pre-trained weights of the trainable encoder layers, by modality; None where there are none.
TailWeights = Mapping[str, Mapping[str, Tensor] | None]


def train_stage1(
    recipe: Recipe, parts: Parts, *, seed: int, hooks: Hooks = NO_HOOKS
) -> tuple[Classifier, Fitted]:
    """Trains fusion and head on the cached embeddings of frozen encoders.

    Raises:
        UserError: nothing to train on, or a recipe that does not fit the features.
    """
    if not len(parts.train):
        raise UserError("split: no training rows")
    torch.manual_seed(seed)
    meta = parts.train.features.meta
    config = ModelConfig(
        labels=list(parts.labels),
        fusion=recipe.fusion,
        input_mode=recipe.input_mode,
        hidden_dims=list(recipe.head.hidden_dims),
        dropout=recipe.head.dropout,
        image_dim=meta.image_dim,
        text_dim=meta.text_dim,
        image_token_dim=meta.image_token_dim,
        text_token_dim=meta.text_token_dim,
    )
    model = Classifier(config)
    first = StageRecipe(recipe.loss, recipe.image_views, recipe.stage1)
    return model, fit(model, parts, first, seed=seed, hooks=hooks)


def train_stage2(
    start: Classifier,
    weights: TailWeights,
    parts: Parts,
    recipe: StageRecipe[Stage2],
    *,
    seed: int,
    hooks: Hooks = NO_HOOKS,
) -> tuple[Classifier | Ensemble, list[Fitted]]:
    """Finetunes the encoder tails together with fusion and head.

    Never ends worse on validation than stage 1 did: its weights compete for the best epoch. With
    `restart_head` training itself starts from a new head.

    Args:
        start: stage 1's model.
        weights: as of `tail_weights`.
        parts: the data, with the hidden states that enter the tails.
        recipe: how to train.
        seed: of the first of `members`; the others have those after it.
        hooks: what goes on beside.

    Returns:
        The model, an ensemble if there are several members, and how each member was trained.

    Raises:
        UserError: the weights are not those that a tail is made of, or training fails.
    """
    members = []
    for member in range(recipe.schedule.members):
        torch.manual_seed(seed + member)
        model, stage1 = _with_tails(start, weights, parts, recipe.schedule)
        fitted = fit(model, parts, recipe, seed=seed + member, start=stage1, hooks=hooks)
        members.append((model, fitted))
    models = [model for model, _ in members]
    return models[0] if len(models) == 1 else Ensemble(models), [fitted for _, fitted in members]


def _with_tails(
    start: Classifier, weights: TailWeights, parts: Parts, schedule: Stage2
) -> tuple[Classifier, dict[str, Tensor]]:
    """The model to train, and the weights of stage 1 with the pre-trained tails."""
    meta = parts.train.features.meta
    config = replace(
        start.config,
        image_tail=meta.image_tail,
        text_tail=meta.text_tail,
        tail_dropout=schedule.encoder_dropout,
    )
    model = Classifier(config)
    pretrained: dict[str, Tensor] = {}
    for name, tail in (("image", model.image_tail), ("text", model.text_tail)):
        if tail is not None:
            own = weights[name] or {}
            check_weights(tail, own, f"data/features/{name}_tail.safetensors")
            pretrained |= {f"{name}_tail.{key}": value for key, value in own.items()}
    stage1 = {**start.state_dict(), **pretrained}
    restarted = schedule.restart_head and schedule.epochs > 0
    model.load_state_dict({**model.state_dict(), **pretrained} if restarted else stage1)
    return model, stage1


def tail_weights(folder: Path, meta: Meta) -> dict[str, dict[str, Tensor] | None]:
    """The pre-trained weights of the tails that `data/features/` holds, by modality.

    Raises:
        UserError: a file is missing or damaged.
    """
    tails = {"image": meta.image_tail, "text": meta.text_tail}
    return {
        name: None if config is None else _read(folder / f"{name}_tail.safetensors")
        for name, config in tails.items()
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
