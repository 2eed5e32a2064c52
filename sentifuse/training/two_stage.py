"""The two stages of progressive finetuning (head first, then the last encoder layers with it)."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sentifuse.config.recipe import Recipe, Stage2, StageRecipe
from sentifuse.encoders.tails import check_weights
from sentifuse.errors import UserError
from sentifuse.features.parts import Parts
from sentifuse.features.schema import TAIL, Meta
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.models.ensemble import Ensemble
from sentifuse.training import label_noise
from sentifuse.training.loop import NO_HOOKS, Fitted, Hooks, fit

# The pre-trained weights of the trainable encoder layers, by the key of the encoder.
TailWeights = Mapping[str, Mapping[str, Tensor]]


def train_stage1(
    recipe: Recipe, parts: Parts, *, seed: int, device: str = "cpu", hooks: Hooks = NO_HOOKS
) -> tuple[Classifier, Fitted]:
    """Trains fusion and head on the cached embeddings of frozen encoders.

    Args:
        recipe: how to train.
        parts: the data.
        seed: of all chance.
        device: where to train, `cpu` or `cuda`; the model stays there.
        hooks: what goes on beside.

    Raises:
        UserError: nothing to train on, or a recipe that does not fit the features.
    """
    if not len(parts.train):
        raise UserError("split: no training rows")
    views = recipe.image_views.predict
    parts, doubted = label_noise.trusted(parts, recipe.loss, recipe.input_mode, views, seed)
    torch.manual_seed(seed)
    meta = parts.train.features.meta
    config = ModelConfig(
        labels=list(parts.labels),
        fusion=recipe.fusion,
        input_mode=recipe.input_mode,
        hidden_dims=list(recipe.head.hidden_dims),
        dropout=recipe.head.dropout,
        encoders=[replace(each, tail=None) for each in meta.encoders],
    )
    model = Classifier(config).to(device)
    first = StageRecipe(recipe.loss, recipe.image_views, recipe.stage1)
    return model, replace(fit(model, parts, first, seed=seed, hooks=hooks), doubted=doubted)


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
        start: stage 1's model, on the device to train on.
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
    mode, views = start.config.input_mode, recipe.image_views.predict
    parts, _ = label_noise.trusted(parts, recipe.loss, mode, views, seed)
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
        encoders=meta.encoders,
        tail_dropout=schedule.encoder_dropout,
    )
    model = Classifier(config).to(start.device)
    pretrained: dict[str, Tensor] = {}
    for key, tail in model.tails.items():
        own = weights.get(key, {})
        check_weights(tail, own, f"data/features/{key}/{TAIL}")
        pretrained |= {f"tails.{key}.{name}": value for name, value in own.items()}
    stage1 = {**start.state_dict(), **pretrained}
    restarted = schedule.restart_head and schedule.epochs > 0
    model.load_state_dict({**model.state_dict(), **pretrained} if restarted else stage1)
    return model, stage1


def tail_weights(folder: Path, meta: Meta) -> dict[str, dict[str, Tensor]]:
    """The pre-trained weights of the tails that `data/features/` holds, by the key of the encoder.

    Raises:
        UserError: a file is missing or damaged.
    """
    trainable = [each.key for each in meta.encoders if each.tail is not None]
    return {key: _read(folder / key / TAIL) for key in trainable}


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
