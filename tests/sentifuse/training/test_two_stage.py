"""Tests of the two training stages on made-up features."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from sentifuse.config.recipe import Head, ImageViews, Loss, Recipe, Stage1, Stage2, StageRecipe
from sentifuse.errors import UserError
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Meta
from sentifuse.metrics.scores import headline
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.fusion import FUSIONS
from sentifuse.models.inference import predict
from sentifuse.training.loop import Fitted
from sentifuse.training.two_stage import TailWeights, tail_weights, train_stage1, train_stage2
from tests import several
from tests.synthetic import IMAGE, IMAGE_TAIL, LABELS, TEXT, TEXT_TAIL, encoders, make_parts
from tests.synthetic import tail_weights as pretrained

STAGE1 = Stage1(
    epochs=10,
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
STAGE2 = Stage2(
    epochs=3,
    batch_size=16,
    lr_head=0.003,
    lr_attn=0.003,
    weight_decay=0.01,
    max_grad_norm=1.0,
    schedule="cosine",
    warmup=0.1,
    early_stop_patience=0,
    restart_head=False,
    members=1,
    lr_clip=0.003,
    layer_decay=0.8,
    encoder_dropout=0.1,
    precision="fp32",
    threads=2,
)
LOSS = Loss(class_weights="none", label_smoothing=0.0, logit_adjustment=0.0, noise="none")
VIEWS = ImageViews(train="plain", predict="plain")
WEIGHTS = {IMAGE: pretrained(IMAGE_TAIL), TEXT: pretrained(TEXT_TAIL)}


class Trained(NamedTuple):
    model: Classifier
    fitted: Fitted


def stage1(
    parts: Parts,
    *,
    fusion: Any = "concat",
    mode: Any = "multimodal",
    dropout: float = 0.0,
    loss: Loss = LOSS,
    seed: int = 0,
    **schedule: Any,
) -> Trained:
    head, changed = Head(hidden_dims=(8,), dropout=dropout), replace(STAGE1, **schedule)
    recipe = Recipe(fusion, mode, head, loss, VIEWS, changed, stage2=None)
    return Trained(*train_stage1(recipe, parts, seed=seed))


def stage2(
    start: Classifier,
    parts: Parts,
    *,
    seed: int = 0,
    weights: TailWeights = WEIGHTS,
    **schedule: Any,
) -> Trained:
    recipe = StageRecipe(LOSS, VIEWS, replace(STAGE2, **schedule))
    model, [fitted] = train_stage2(start, weights, parts, recipe, seed=seed)
    assert isinstance(model, Classifier)
    return Trained(model, fitted)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def macro_f1(model: Classifier, parts: Parts) -> float:
    predicted = predict(model, parts.val, "plain").argmax(dim=1)
    return headline(parts.val.targets.numpy(), predicted.numpy(), len(LABELS))["macro_f1"]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_learns_in_stage_1_and_goes_on_in_stage_2(fusion: str) -> None:
    parts = make_parts(noise=0.05)
    first = stage1(parts, fusion=fusion, epochs=15)
    assert first.fitted.val["macro_f1"] > 0.9
    second = stage2(first.model, parts)
    assert second.fitted.val["macro_f1"] >= first.fitted.val["macro_f1"]
    losses = [row["train_loss"] for row in second.fitted.history]
    assert losses[-1] < losses[0]


def test_without_training_rows_stage_1_says_so() -> None:
    parts = make_parts()
    with pytest.raises(UserError, match=r"^split: no training rows$"):
        stage1(replace(parts, train=parts.test))


def test_the_loss_follows_the_recipe() -> None:
    """At a rate of zero the first training loss is that of the model as it stands."""
    parts = make_parts(train=12, val=0)
    # Class counts 6, 4, 2.
    rows = [0, 3, 6, 9, 0, 3, 1, 4, 7, 10, 2, 5]
    train = replace(parts.train, rows=parts.train.rows[rows], targets=parts.train.targets[rows])
    trained = stage1(
        replace(parts, train=train),
        loss=Loss(class_weights="sqrt", label_smoothing=0.2, logit_adjustment=1.5, noise="none"),
        lr_head=0.0,
        epochs=1,
        batch_size=12,
    )
    counts = [6, 4, 2]
    mean = sum(1 / count for count in counts) / 3
    weights = [sqrt(1 / count / mean) for count in counts]
    prior = torch.tensor([1.5 * log(count / 12) for count in counts])
    log_p = (predict(trained.model, train, "plain") + prior).log_softmax(dim=1)
    total = 0.0
    for row, target in zip(log_p, train.targets.tolist(), strict=True):
        for c in range(3):
            total -= weights[c] * (0.8 * (c == target) + 0.2 / 3) * row[c].item()
    expected = total / sum(weights[target] for target in train.targets.tolist())
    assert trained.fitted.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


def test_a_class_without_samples_has_no_prior_to_adjust_by() -> None:
    parts = make_parts(train=12, val=6)
    rows = [index for index in range(12) if index % 3]
    train = replace(parts.train, rows=parts.train.rows[rows], targets=parts.train.targets[rows])
    loss = Loss(class_weights="none", label_smoothing=0.1, logit_adjustment=1.0, noise="none")
    with pytest.raises(UserError, match=r"^loss\.logit_adjustment: .*'negative'"):
        stage1(replace(parts, train=train), loss=loss, epochs=1)


def test_stage_1_keeps_a_model_without_tails() -> None:
    model = stage1(make_parts(), epochs=1).model
    assert len(model.tails) == 0
    assert all(each.tail is None for each in model.config.encoders)
    assert not model.training


def test_zero_epochs_of_stage_1_give_the_seeds_initial_weights() -> None:
    trained = stage1(make_parts(), epochs=0, seed=3)
    assert trained.fitted.history == []
    torch.manual_seed(3)
    assert same(trained.model.state_dict(), Classifier(trained.model.config).state_dict())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits_in_both_stages(precision: str) -> None:
    parts = make_parts()
    runs = []
    for seed in (4, 4, 5):
        first = stage1(parts, seed=seed, dropout=0.3, epochs=2)
        second = stage2(first.model, parts, seed=seed, precision=precision, epochs=1)
        runs.append((first.model.state_dict(), second.model.state_dict()))
    for stage in range(2):
        assert same(runs[0][stage], runs[1][stage])
        assert not same(runs[0][stage], runs[2][stage])


def test_zero_epochs_of_stage_2_give_stage_1s_logits_with_the_pretrained_tails() -> None:
    parts = make_parts()
    first = stage1(parts, epochs=3)
    second = stage2(first.model, parts, epochs=0)
    assert second.fitted.history == []
    assert second.fitted.val == first.fitted.val
    assert set(second.model.tails) == set(WEIGHTS)
    for key, tail in second.model.tails.items():
        assert same(tail.state_dict(), WEIGHTS[key])
    for part in (parts.train, parts.val):
        torch.testing.assert_close(
            predict(second.model, part, "plain"),
            predict(first.model, part, "plain"),
            rtol=1e-5,
            atol=1e-5,
        )


def test_stage_2_trains_head_and_tails_and_leaves_stage_1s_model_alone() -> None:
    parts = make_parts(val=0)
    first = stage1(parts, epochs=2).model
    before = {key: value.clone() for key, value in first.state_dict().items()}
    after = stage2(first, parts).model.state_dict()
    assert same(first.state_dict(), before)
    start = before | {f"tails.{key}.{k}": v for key in WEIGHTS for k, v in WEIGHTS[key].items()}
    assert start.keys() == after.keys()
    assert [key for key in after if torch.equal(after[key], start[key])] == []


def test_a_restarted_head_owes_nothing_to_stage_1() -> None:
    parts = make_parts(val=0)
    first, other = (stage1(parts, epochs=2, seed=seed).model for seed in (0, 1))
    restarted = [stage2(start, parts, restart_head=True).model for start in (first, other)]
    continued = [stage2(start, parts, restart_head=False).model for start in (first, other)]
    assert same(restarted[0].state_dict(), restarted[1].state_dict())
    assert not same(continued[0].state_dict(), continued[1].state_dict())


def test_with_a_restarted_head_stage_1s_weights_still_compete() -> None:
    parts = make_parts(noise=0.05)
    first = stage1(parts, epochs=15)
    second = stage2(first.model, parts, restart_head=True, epochs=1, lr_head=0.0, lr_clip=0.0)
    assert second.fitted.history[-1]["val_macro_f1"] < first.fitted.val["macro_f1"]
    assert second.fitted.best_epoch == 0
    assert macro_f1(second.model, parts) == first.fitted.val["macro_f1"]
    for key, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value)


def test_zero_epochs_of_stage_2_keep_stage_1s_head_even_without_validation() -> None:
    parts = make_parts(val=0)
    first = stage1(parts, epochs=2).model
    second = stage2(first, parts, restart_head=True, epochs=0).model
    assert same(second.head.state_dict(), first.head.state_dict())


def test_members_differ_by_their_seed_and_average_their_probabilities() -> None:
    parts = make_parts()
    first = stage1(parts, epochs=1).model
    recipe = StageRecipe(LOSS, VIEWS, replace(STAGE2, members=2, restart_head=True))
    model, fitted = train_stage2(first, WEIGHTS, parts, recipe, seed=5)
    assert isinstance(model, Ensemble)
    assert len(fitted) == 2
    alone = [stage2(first, parts, restart_head=True, seed=seed).model for seed in (5, 6)]
    votes = [predict(member, parts.val, "plain").softmax(dim=1) for member in alone]
    assert not torch.equal(votes[0], votes[1])
    torch.testing.assert_close(
        predict(model, parts.val, "plain").softmax(dim=1), (votes[0] + votes[1]) / 2
    )


def test_a_rate_of_zero_freezes_the_tails_only() -> None:
    parts = make_parts(val=0)
    first = stage1(parts, epochs=2).model
    trained = stage2(first, parts, lr_clip=0.0).model
    for key, tail in trained.tails.items():
        assert same(tail.state_dict(), WEIGHTS[key])
    name = "head.0.weight"
    assert not torch.equal(trained.state_dict()[name], first.state_dict()[name])


@pytest.mark.parametrize("lr", [1.0, 30.0])
def test_stage_2_never_ends_worse_on_validation_than_it_began(lr: float) -> None:
    parts = make_parts(noise=0.05)
    first = stage1(parts, epochs=15)
    assert first.fitted.val["macro_f1"] > 0.9
    second = stage2(first.model, parts, lr_head=lr, lr_clip=lr, epochs=2, max_grad_norm=1e9)
    assert second.fitted.history[-1]["val_macro_f1"] < first.fitted.val["macro_f1"]
    assert second.fitted.val["macro_f1"] >= first.fitted.val["macro_f1"]
    assert macro_f1(second.model, parts) == second.fitted.val["macro_f1"]


@pytest.mark.parametrize(("mode", "present"), [("text_only", TEXT), ("image_only", IMAGE)])
def test_stage_2_finetunes_no_encoder_of_an_absent_modality(mode: str, present: str) -> None:
    parts = make_parts()
    trained = stage2(stage1(parts, mode=mode, epochs=1).model, parts, epochs=1)
    assert list(trained.model.tails) == [present]


def with_tails(parts: Parts, *trainable: str) -> Parts:
    """The same parts, whose features have the tails of some encoders only."""
    features = parts.train.features
    metas = [
        each if each.key in trainable else replace(each, tail=None)
        for each in features.meta.encoders
    ]
    changed = replace(features, meta=replace(features.meta, encoders=tuple(metas)))
    data = {name: getattr(parts, name) for name in ("train", "val", "test", "predict")}
    return replace(parts, **{name: replace(each, features=changed) for name, each in data.items()})


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_learns_from_several_encoders(fusion: str) -> None:
    parts = several.make_several(noise=0.05)
    first = stage1(parts, fusion=fusion, epochs=15)
    assert first.fitted.val["macro_f1"] > 0.9
    second = stage2(first.model, parts, weights=several.WEIGHTS)
    assert second.fitted.val["macro_f1"] >= first.fitted.val["macro_f1"]
    losses = [row["train_loss"] for row in second.fitted.history]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "trainable",
    [
        (several.OTHER_TEXT,),
        (IMAGE, several.OTHER_IMAGE),
        (TEXT, several.OTHER_TEXT),
        several.KEYS,
    ],
    ids=" ".join,
)
def test_of_several_encoders_all_with_a_tail_are_trained(trainable: tuple[str, ...]) -> None:
    parts = with_tails(several.make_several(val=0), *trainable)
    first = stage1(parts, epochs=2).model
    start = {key: value.clone() for key, value in first.state_dict().items()}
    trained = stage2(first, parts, weights=several.WEIGHTS).model
    assert list(trained.tails) == list(trainable)
    for key in trainable:
        start |= {f"tails.{key}.{name}": each for name, each in several.WEIGHTS[key].items()}
    after = trained.state_dict()
    assert start.keys() == after.keys()
    assert [key for key in after if torch.equal(after[key], start[key])] == []


def test_zero_epochs_with_several_encoders_give_stage_1s_logits_with_the_pretrained_tails() -> None:
    parts = several.make_several(views=2)
    first = stage1(parts, fusion="cross_attn", epochs=3)
    second = stage2(first.model, parts, weights=several.WEIGHTS, epochs=0)
    assert list(second.model.tails) == list(several.KEYS)
    for key, tail in second.model.tails.items():
        assert same(tail.state_dict(), several.WEIGHTS[key])
    torch.testing.assert_close(
        predict(second.model, parts.val, "mean"),
        predict(first.model, parts.val, "mean"),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("mode", "present"),
    [("text_only", (TEXT, several.OTHER_TEXT)), ("image_only", (IMAGE, several.OTHER_IMAGE))],
)
def test_stage_2_finetunes_no_encoder_of_several_of_an_absent_modality(
    mode: str, present: tuple[str, ...]
) -> None:
    parts = several.make_several()
    start = stage1(parts, mode=mode, epochs=1).model
    trained = stage2(start, parts, weights=several.WEIGHTS, epochs=1).model
    assert tuple(trained.tails) == present


@pytest.mark.parametrize("key", several.KEYS)
def test_weights_of_one_of_several_tails_that_are_not_there_are_named_by_its_folder(
    key: str,
) -> None:
    parts = several.make_several(6, 0)
    weights = {name: each for name, each in several.WEIGHTS.items() if name != key}
    with pytest.raises(UserError, match=rf"^data/features/{key}/tail\.safetensors: weights: "):
        stage2(stage1(parts, epochs=0).model, parts, weights=weights)


def test_encoder_dropout_acts_in_stage_2() -> None:
    parts = make_parts(val=0)
    first = stage1(parts, epochs=1).model
    losses = [
        stage2(first, parts, encoder_dropout=rate, epochs=1).fitted.history[0]["train_loss"]
        for rate in (0.0, 0.5)
    ]
    assert losses[0] != losses[1]


def test_weights_of_the_tails_are_read_for_the_encoders_that_have_one(tmp_path: Path) -> None:
    import safetensors.torch

    trainable = (several.OTHER_IMAGE, TEXT, several.OTHER_TEXT)
    for key in trainable:
        (tmp_path / key).mkdir()
        safetensors.torch.save_file(several.WEIGHTS[key], tmp_path / key / "tail.safetensors")
    for metas in (encoders(TEXT), several.encoders(*trainable)):
        weights = tail_weights(tmp_path, Meta(1, metas))
        assert list(weights) == [each.key for each in metas if each.tail is not None]
        for key, own in weights.items():
            assert same(own, several.WEIGHTS[key])
    assert tail_weights(tmp_path, Meta(1, encoders())) == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("norm.bias"), "1 missing, the first 'norm.bias'"),
        (lambda weights: weights.clear(), "35 missing, the first 'layers.0.fc1.bias'"),
        (lambda weights: weights.update(more=torch.ones(1)), "1 unexpected, the first 'more'"),
        (
            lambda weights: weights.update({"norm.bias": torch.ones(9)}),
            "1 of another shape, the first 'norm.bias' with the shape (9,), expected (8,)",
        ),
    ],
)
@pytest.mark.parametrize("key", [IMAGE, TEXT])
@pytest.mark.parametrize("restart_head", [False, True])
def test_weights_of_a_tail_that_are_not_there_are_not_drawn(
    restart_head: bool, key: str, change: Callable[[dict[str, Tensor]], object], told: str
) -> None:
    parts = make_parts()
    weights = {name: dict(each) for name, each in WEIGHTS.items()}
    change(weights[key])
    recipe = StageRecipe(LOSS, VIEWS, replace(STAGE2, epochs=1, restart_head=restart_head))
    start = stage1(parts, epochs=0).model
    with pytest.raises(UserError) as caught:
        train_stage2(start, weights, parts, recipe, seed=0)
    message = (
        f"data/features/{key}/tail.safetensors: weights: {told}: run `dvc repro preprocess` again"
    )
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("raw", [None, b"", b"no weights"])
def test_a_file_of_weights_that_cannot_be_read_is_named(raw: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / IMAGE / "tail.safetensors"
    path.parent.mkdir()
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(UserError, match=f"^{path}: (no such file|damaged)"):
        tail_weights(tmp_path, make_parts(3, 0).train.features.meta)
