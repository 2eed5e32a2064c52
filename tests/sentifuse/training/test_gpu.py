"""Tests of training on a GPU beside the CPU; they are skipped where there is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sentifuse.config.recipe import Head, ImageViews, Loss, Recipe, StageRecipe
from sentifuse.models import checkpoint
from sentifuse.models.fusion import FUSIONS
from sentifuse.models.inference import predict
from sentifuse.runtime import devices
from sentifuse.training import history
from sentifuse.training.loop import NO_HOOKS, Hooks
from sentifuse.training.resume import Resume
from sentifuse.training.trial import run_trial
from sentifuse.training.two_stage import train_stage1, train_stage2
from tests.sentifuse.training.test_two_stage import STAGE1, STAGE2, WEIGHTS
from tests.synthetic import make_parts

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

DEVICE = "cuda"
LOSS = Loss(class_weights="sqrt", label_smoothing=0.1, logit_adjustment=0.5, noise="none")
PARTS = make_parts(train=48, val=24, noise=0.8, views=3)


def recipe(fusion: Any, dropout: float = 0.0) -> Recipe:
    return Recipe(
        fusion=fusion,
        input_mode="multimodal",
        head=Head((8,), dropout),
        loss=LOSS,
        image_views=ImageViews("draw", "mean"),
        stage1=replace(STAGE1, epochs=3, precision="fp32"),
        # One shard, as there: each shard of a batch draws its own views.
        stage2=replace(STAGE2, epochs=2, precision="fp32", encoder_dropout=dropout, threads=1),
    )


@pytest.fixture(autouse=True)
def _prepared() -> None:
    devices.prepare(DEVICE)


def both_stages(how: Recipe, device: str, hooks: Hooks = NO_HOOKS) -> Any:
    start, _ = train_stage1(how, PARTS, seed=0, device=device)
    assert how.stage2 is not None
    second = StageRecipe(how.loss, how.image_views, how.stage2)
    return train_stage2(start, WEIGHTS, PARTS, second, seed=0, hooks=hooks)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_trained_there_answers_the_same_on_the_processor(
    fusion: str, tmp_path: Path
) -> None:
    model, [fitted] = both_stages(recipe(fusion, dropout=0.2), DEVICE)
    assert (fitted.device, model.device.type) == (DEVICE, DEVICE)
    there = predict(model, PARTS.val, "mean").softmax(dim=1)
    checkpoint.save(tmp_path, model, history.info([fitted], "mean", 1.0))
    loaded = checkpoint.load(tmp_path).model
    assert loaded.device.type == "cpu"
    here = predict(loaded, PARTS.val, "mean").softmax(dim=1)
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_training_goes_as_on_the_processor_but_for_rounding(fusion: str) -> None:
    [there, here] = [
        run_trial(recipe(fusion), PARTS, WEIGHTS, seed=0, device=each) for each in (DEVICE, "cpu")
    ]
    for one, other in zip(there.members, here.members, strict=True):
        losses = [[row["train_loss"] for row in each.history] for each in (one, other)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    how = recipe("cross_attn", dropout=0.3)
    undisturbed, _ = both_stages(how, DEVICE)

    def kill(row: dict[str, float]) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        both_stages(how, DEVICE, Hooks(kill, Resume(tmp_path)))
    seen: list[float] = []
    taken_up = Hooks(lambda row: seen.append(row["epoch"]), Resume(tmp_path))
    again, _ = both_stages(how, DEVICE, taken_up)
    assert seen == [1, 2]
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, undisturbed.state_dict()[name]), name
