"""Tests of the training loop."""

from collections.abc import Mapping
from dataclasses import replace
from math import cos, log, pi
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sentifuse.config.recipe import ImageViews, Loss, Stage1, StageRecipe
from sentifuse.errors import UserError
from sentifuse.features.parts import Parts
from sentifuse.metrics.scores import headline
from sentifuse.models.classifier import Classifier
from sentifuse.models.inference import predict
from sentifuse.training.loop import HISTORY, Fitted, Hooks, fit
from sentifuse.training.losses import Criterion
from sentifuse.training.step import Step
from tests.synthetic import IMAGE, TEXT, make_parts, model_config

SCHEDULE = Stage1(
    epochs=8,
    batch_size=16,
    lr_head=0.01,
    lr_attn=0.01,
    weight_decay=0.01,
    max_grad_norm=1.0,
    schedule="plateau",
    warmup=0.0,
    early_stop_patience=0,
    precision="fp32",
)
PLAIN = Loss(class_weights="none", label_smoothing=0.0, logit_adjustment=0.0, noise="none")


class Run:
    """A call of `fit` on a fresh model; keeps the weights that the model had after each epoch."""

    def __init__(
        self,
        parts: Parts,
        *,
        lr: float = 0.01,
        loss: Loss = PLAIN,
        seed: int = 0,
        views: Any = "plain",
        keep_start: bool = False,
        config: Mapping[str, Any] | None = None,
        **schedule: Any,
    ) -> None:
        torch.manual_seed(0)
        self.model = Classifier(model_config(**(config or {})))
        self.start = self.weights()
        self.epochs: list[dict[str, Tensor]] = []
        changed = replace(SCHEDULE, lr_head=lr, **schedule)
        self.fitted: Fitted = fit(
            self.model,
            parts,
            StageRecipe(loss, ImageViews(views, "plain"), changed),
            seed=seed,
            start=self.start if keep_start else None,
            hooks=Hooks(on_epoch=lambda row: self.epochs.append(self.weights())),
        )

    def weights(self) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in self.model.state_dict().items()}

    def column(self, name: str) -> list[float]:
        return [row[name] for row in self.fitted.history]


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_a_separable_problem_is_learned() -> None:
    run = Run(make_parts(noise=0.05), epochs=15)
    assert run.column("val_macro_f1")[0] < 1.0
    assert run.fitted.val == {"accuracy": 1.0, "macro_f1": 1.0}
    losses = run.column("train_loss")
    assert losses[-1] < 0.5 * losses[0]


def test_the_first_epoch_with_the_best_macro_f1_is_kept() -> None:
    parts = make_parts(noise=0.8)
    runs = [Run(parts, lr=0.1, epochs=8, seed=seed) for seed in range(3)]
    for run in runs:
        scores, best = run.column("val_macro_f1"), run.fitted.best_epoch
        assert best == scores.index(max(scores)) + 1
        assert same(run.weights(), run.epochs[best - 1])
        predicted = predict(run.model, parts.val, "plain").argmax(dim=1)
        assert headline(parts.val.targets.numpy(), predicted.numpy(), 3) == run.fitted.val
    # Else the best epoch could not be told from the first or the last.
    assert any(1 < run.fitted.best_epoch < 8 for run in runs)


def test_the_model_ends_in_eval_mode() -> None:
    assert not Run(make_parts(), epochs=1).model.training


def test_a_row_of_the_history_has_the_columns_of_the_csv() -> None:
    run = Run(make_parts(), epochs=3)
    assert [set(row) for row in run.fitted.history] == [set(HISTORY)] * 3
    assert run.column("epoch") == [1, 2, 3]


def test_training_stops_after_as_many_epochs_without_gain_as_patience_allows() -> None:
    # At a rate of zero no epoch is better than the first.
    run = Run(make_parts(), lr=0.0, epochs=20, early_stop_patience=4)
    assert len(run.fitted.history) == 5
    assert run.fitted.best_epoch == 1


def test_a_patience_of_zero_never_stops() -> None:
    assert len(Run(make_parts(), lr=0.0, epochs=7).fitted.history) == 7


def test_without_validation_all_epochs_run_and_the_last_weights_are_kept() -> None:
    run = Run(make_parts(val=0), epochs=5, early_stop_patience=1, keep_start=True)
    assert len(run.fitted.history) == run.fitted.best_epoch == 5
    assert same(run.weights(), run.epochs[-1])
    assert not same(run.epochs[-1], run.epochs[-2])
    assert run.fitted.val == {}
    assert set(run.fitted.history[0]) == {"epoch", "train_loss", "lr_head"}


def test_the_start_competes_only_if_asked_to() -> None:
    parts = make_parts(noise=0.05)
    for keep_start in (False, True):
        run = Run(parts, lr=0.0, epochs=2, keep_start=keep_start)
        assert run.fitted.best_epoch == (0 if keep_start else 1)


def test_a_start_that_nothing_beats_is_kept() -> None:
    parts = make_parts(noise=0.05)
    good = Run(parts, epochs=15).model
    start = {key: value.clone() for key, value in good.state_dict().items()}
    recipe = StageRecipe(PLAIN, ImageViews("plain", "plain"), replace(SCHEDULE, lr_head=1e2))
    fitted = fit(good, parts, recipe, seed=0, start=start)
    assert fitted.best_epoch == 0
    assert fitted.val["macro_f1"] == 1.0
    assert same(good.state_dict(), start)


def test_zero_epochs_leave_the_model_as_it_was() -> None:
    for keep_start in (False, True):
        run = Run(make_parts(), epochs=0, keep_start=keep_start)
        assert run.fitted.history == []
        assert run.fitted.best_epoch == 0
        assert set(run.fitted.val) == ({"accuracy", "macro_f1"} if keep_start else set())
        assert same(run.weights(), run.start)
        assert not run.model.training


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(schedule: str) -> None:
    parts = make_parts(views=3)
    config = {"dropout": 0.3}
    runs = [
        Run(parts, seed=seed, views="draw", config=config, schedule=schedule, epochs=3)
        for seed in (5, 5, 6)
    ]
    assert same(runs[0].weights(), runs[1].weights())
    assert runs[0].fitted == runs[1].fitted
    assert not same(runs[0].weights(), runs[2].weights())


def test_what_happened_before_does_not_matter_to_a_seeded_run() -> None:
    parts, config = make_parts(), {"dropout": 0.3}
    first = Run(parts, config=config, epochs=2)
    torch.rand(17)
    np.random.default_rng().random(3)
    assert same(first.weights(), Run(parts, config=config, epochs=2).weights())


def test_plateau_halves_the_rate_after_more_than_two_epochs_without_gain() -> None:
    # At so small a rate the scores do not move: the first epoch stays the best.
    run = Run(make_parts(), lr=1e-6, epochs=8)
    assert len(set(run.column("val_macro_f1"))) == 1
    assert run.column("lr_head") == [1e-6] * 4 + [0.5e-6] * 3 + [0.25e-6]


def test_plateau_without_validation_keeps_the_rate() -> None:
    assert Run(make_parts(val=0), epochs=8).column("lr_head") == [0.01] * 8


def test_cosine_goes_to_zero_step_by_step() -> None:
    run = Run(make_parts(train=60), schedule="cosine", epochs=5, batch_size=16)  # 4 steps an epoch
    expected = [0.01 * 0.5 * (1 + cos(pi * 4 * epoch / 20)) for epoch in range(5)]
    assert run.column("lr_head") == pytest.approx(expected)


def test_warm_up_raises_the_rate_first() -> None:
    run = Run(make_parts(), schedule="cosine", warmup=0.5, epochs=8, batch_size=60)
    rising = [0.01 * step / 5 for step in (1, 2, 3, 4)]
    falling = [0.01 * 0.5 * (1 + cos(pi * step / 4)) for step in range(4)]
    assert run.column("lr_head") == pytest.approx(rising + falling)


def test_losses_of_the_history_are_means_over_the_samples() -> None:
    parts = make_parts(train=50)
    run = Run(parts, lr=0.0, epochs=1, batch_size=16)  # a last batch of two
    for name, data in (("train_loss", parts.train), ("val_loss", parts.val)):
        logits = predict(run.model, data, "plain")
        expected = torch.nn.functional.cross_entropy(logits, data.targets).item()
        assert run.column(name) == pytest.approx([expected], rel=1e-5)


def test_logit_adjustment_shifts_the_logits_in_training_only() -> None:
    parts = make_parts()
    parts.train.targets[:] = torch.tensor([0] * 42 + [1] * 12 + [2] * 6)
    weights = {"negative": 0.5, "neutral": 1.0, "positive": 2.0}
    run = Run(parts, lr=0.0, epochs=1, batch_size=60, loss=Loss(weights, 0.1, 1.0, "none"))
    prior = torch.tensor([log(0.7), log(0.2), log(0.1)])
    for name, data, shift in (("train_loss", parts.train, prior), ("val_loss", parts.val, None)):
        criterion = Criterion(torch.tensor(list(weights.values())), 0.1, shift)
        expected = criterion(predict(run.model, data, "plain"), data.targets)
        assert run.column(name) == pytest.approx([expected.item()], rel=1e-5)


def test_views_of_training_reach_the_model() -> None:
    parts = make_parts(views=3, noise=1.0)
    losses = {}
    for views in ("plain", "mean"):
        run = Run(parts, lr=0.0, epochs=1, batch_size=60, views=views)
        logits = predict(run.model, parts.train, views)
        losses[views] = torch.nn.functional.cross_entropy(logits, parts.train.targets).item()
        assert run.column("train_loss") == pytest.approx([losses[views]], rel=1e-5)
    assert losses["plain"] != pytest.approx(losses["mean"], rel=1e-3)


def test_gradients_are_clipped_to_their_norm() -> None:
    # Steps of AdamW do not depend on the gradients' scale, but where epsilon outweighs them.
    parts = make_parts()
    moved = {}
    for norm in (1e-12, 1.0):
        run = Run(parts, epochs=1, batch_size=60, weight_decay=0.0, max_grad_norm=norm)
        after = run.weights()
        moved[norm] = max((after[key] - run.start[key]).abs().max().item() for key in after)
    assert moved[1.0] == pytest.approx(0.01, rel=0.01)
    assert moved[1e-12] < 1e-4


def test_autocast_trains_in_bfloat16_and_learns_as_well() -> None:
    parts = make_parts(noise=0.05)
    plain = Run(parts, epochs=15)
    half = Run(parts, epochs=15, precision="bf16")
    assert plain.column("train_loss") != half.column("train_loss")
    assert half.column("train_loss") == pytest.approx(plain.column("train_loss"), rel=0.1)
    assert half.fitted.val["macro_f1"] == 1.0
    assert all(value.dtype == torch.float32 for value in half.weights().values())


def test_a_run_that_goes_astray_stops_and_names_the_step() -> None:
    with pytest.raises(UserError) as caught:
        Run(make_parts(), lr=1e30, epochs=3)
    message = str(caught.value)
    assert message.startswith("epoch 1, step 2: the loss is ")
    assert "lower the learning rates (lr_head, lr_attn, lr_clip)" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_each_of_loss_and_gradient_is_looked_at(
    what: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Step.__call__
    steps = iter(range(1, 100))

    def step(self: Step, *arguments: Any) -> Any:
        loss, gradients = plain(self, *arguments)
        if next(steps) < 6:  # four steps an epoch
            return loss, gradients
        if what == "gradient":
            assert gradients[-1] is not None
            gradients[-1][0] = value
            return loss, gradients
        return value, gradients

    monkeypatch.setattr(Step, "__call__", step)
    with pytest.raises(UserError, match=r"^epoch 2, step 2: the loss is") as caught:
        Run(make_parts(), epochs=3)
    assert f"{value:g}" in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("key", [IMAGE, TEXT])
@pytest.mark.parametrize("validated", [False, True])
def test_features_that_are_no_numbers_are_named_by_their_guid(
    validated: bool, key: str, value: float
) -> None:
    parts = make_parts()
    values = parts.train.features.arrays[key].embeddings
    row = 70 if validated else 7  # 60 are trained on
    values[row].flat[0] = value
    with pytest.raises(UserError, match=f"^guid {row}: the features are NaN or infinite") as caught:
        Run(parts, epochs=2)
    assert "run `dvc repro preprocess`" in str(caught.value)
