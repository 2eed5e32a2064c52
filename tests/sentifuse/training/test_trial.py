"""Tests of one trial: training by a recipe and scoring on the other parts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.config.recipe import Head, ImageViews, Loss, Recipe, StageRecipe
from sentifuse.features.batches import Dataset
from sentifuse.features.parts import Parts
from sentifuse.metrics import calibration
from sentifuse.metrics.scores import COMPARED, headline
from sentifuse.models.inference import predict
from sentifuse.training import two_stage
from sentifuse.training.loop import Hooks, fit
from sentifuse.training.trial import run_trial
from sentifuse.training.two_stage import train_stage1, train_stage2
from tests.sentifuse.training.test_two_stage import STAGE1, STAGE2, WEIGHTS
from tests.synthetic import make_parts

LOSS = Loss(class_weights="none", label_smoothing=0.0, logit_adjustment=0.0, noise="none")
FROZEN = Recipe(
    fusion="concat",
    input_mode="multimodal",
    head=Head((8,), dropout=0.2),
    loss=LOSS,
    image_views=ImageViews(train="draw", predict="mean"),
    stage1=replace(STAGE1, epochs=4),
    stage2=None,
)


def split(train: int = 40, val: int = 12) -> Parts:
    """The second half of what `make_parts` gives for validation is the test part."""
    made = make_parts(train, 2 * val, noise=0.6, views=2)

    def rows(start: int, stop: int) -> Dataset:
        data = made.val
        return replace(
            data,
            rows=data.rows[start:stop],
            targets=data.targets[start:stop],
            guids=data.guids[start:stop],
        )

    return replace(made, val=rows(0, val), test=rows(val, 2 * val))


def test_a_trial_has_the_scores_and_outputs_of_the_model_that_its_recipe_trains() -> None:
    parts = split()
    found = run_trial(FROZEN, parts, {}, seed=3)
    model, fitted = train_stage1(FROZEN, parts, seed=3)
    assert found.members == [fitted]
    assert (found.precision, found.train_samples) == (fitted.precision, 40)
    assert found.val == fitted.val
    assert list(found.guids) == list(parts.test.guids) == [str(index) for index in range(52, 64)]
    logits = predict(model, parts.test, "mean").numpy()
    assert np.array_equal(found.logits, logits)
    assert np.array_equal(found.predicted, logits.argmax(axis=1))
    assert found.test == headline(parts.test.targets.numpy(), found.predicted, 3, COMPARED)
    assert np.array_equal(found.probabilities, calibration.softmax(logits, found.temperature))


@pytest.mark.parametrize("members", [1, 2])
def test_with_a_stage_2_it_is_that_ones_model_which_answers(members: int) -> None:
    parts = split()
    recipe = replace(FROZEN, stage2=replace(STAGE2, epochs=1, members=members))
    found = run_trial(recipe, parts, WEIGHTS, seed=3)
    start, _ = train_stage1(recipe, parts, seed=3)
    second: Any = StageRecipe(LOSS, recipe.image_views, recipe.stage2)
    model, fitted = train_stage2(start, WEIGHTS, parts, second, seed=3)
    assert found.members == fitted
    assert len(fitted) == members
    assert np.array_equal(found.logits, predict(model, parts.test, "mean").numpy())


def test_the_temperature_is_fitted_on_validation() -> None:
    parts = split()
    # One epoch: validation does not choose among several, so its labels leave the weights as they are.
    recipe = replace(FROZEN, stage1=replace(FROZEN.stage1, epochs=1))
    plain = run_trial(recipe, parts, {}, seed=3)
    wrong = replace(parts, val=replace(parts.val, targets=torch.roll(parts.val.targets, 1)))
    other = run_trial(recipe, wrong, {}, seed=3)
    assert np.array_equal(plain.logits, other.logits)
    assert plain.temperature != 1.0
    assert other.temperature > plain.temperature


def test_parts_without_samples_have_no_scores_and_the_temperature_is_one() -> None:
    found = run_trial(FROZEN, replace(split(val=0)), {}, seed=3)
    assert (found.val, found.test, found.temperature) == ({}, {}, 1.0)
    assert found.logits.shape == (0, 3)


def test_hooks_see_the_epochs_of_both_stages() -> None:
    seen: list[float] = []
    recipe = replace(FROZEN, stage2=replace(STAGE2, epochs=2))
    run_trial(recipe, split(), WEIGHTS, seed=3, hooks=Hooks(lambda row: seen.append(row["epoch"])))
    assert seen == [1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize("noise", ["drop", "weight"])
def test_doubtful_labels_are_dealt_with_in_both_stages_and_the_split_stays_as_it_is(
    noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = split(train=60)
    wrong = made.train.targets.clone()
    wrong[:12] = (wrong[:12] + 1) % 3
    parts = replace(made, train=replace(made.train, targets=wrong))
    trained: list[Dataset] = []

    def seen(model: Any, parts: Parts, *others: Any, **more: Any) -> Any:
        trained.append(parts.train)
        return fit(model, parts, *others, **more)

    monkeypatch.setattr(two_stage, "fit", seen)
    recipe = replace(
        FROZEN, loss=replace(LOSS, noise=noise), stage2=replace(STAGE2, epochs=1, members=2)
    )
    found = run_trial(recipe, parts, WEIGHTS, seed=3)
    assert found.train_samples == 60
    assert run_trial(replace(recipe, stage2=None), parts, {}, seed=3).members[0].doubted > 0
    first, second, third, _ = trained
    assert list(first.guids) == list(second.guids) == list(third.guids)
    assert (len(first) < 60) == (noise == "drop")
    assert (second.weights is not None) == (noise == "weight")
