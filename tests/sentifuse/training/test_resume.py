"""Training that is cut off after any epoch and taken up again ends as if nothing had happened."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.config.recipe import Head, ImageViews, Loss, Recipe, StageRecipe
from sentifuse.features.parts import Parts
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier
from sentifuse.training import history
from sentifuse.training.loop import Hooks
from sentifuse.training.resume import Loop, Resume
from sentifuse.training.two_stage import train_stage1, train_stage2
from tests.sentifuse.training.test_two_stage import STAGE1, STAGE2
from tests.several import KEYS, OTHER_IMAGE, OTHER_TEXT, WEIGHTS, encoders, make_several
from tests.synthetic import IMAGE, TEXT, make_parts, model_config

pytestmark = pytest.mark.pipeline

LOSS = Loss(class_weights="sqrt", label_smoothing=0.1, logit_adjustment=0.5, noise="none")
EPOCHS = 5


class KilledError(Exception):
    pass


class Stage:
    """A training stage with dropout and drawn views on made-up data, and what it writes."""

    def __init__(self, folder: Path, number: int, noise: float = 0.8, **changes: Any) -> None:
        self.folder, self.number = folder, number
        self.fusion = changes.pop("fusion", "concat")
        self.mode = changes.pop("input_mode", "multimodal")
        self.views = ImageViews(train=changes.pop("views", "draw"), predict="plain")
        make = make_several if changes.pop("several", False) else make_parts
        self.parts: Parts = make(
            train=48, val=changes.pop("val", 24), noise=noise, views=3, seed=changes.pop("data", 0)
        )
        base: Any = STAGE1 if number == 1 else STAGE2
        self.schedule = replace(base, **{"epochs": EPOCHS, **changes})
        self.seen: list[int] = []

    def run(self, until: int = 10**6) -> dict[str, bytes]:
        """Trains, but is killed when `until` epochs of this run have been trained; returns the files."""
        resume = Resume(self.folder / "resume")
        self.seen = []

        def on_epoch(row: dict[str, float]) -> None:
            self.seen.append(int(row["epoch"]))
            if len(self.seen) >= until:
                raise KilledError

        # Whatever ran before in this process must not matter.
        torch.manual_seed(torch.seed())
        model, fitted = self._train(Hooks(on_epoch, resume))
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        checkpoint.save(out, model, history.info(fitted, "plain"))
        for member, each in enumerate(fitted):
            history.write(each, out / f"{member}.csv")
        resume.clear()
        return {path.name: path.read_bytes() for path in out.iterdir()}

    def _train(self, hooks: Hooks) -> Any:
        if self.number == 1:
            head = Head((8,), dropout=0.2)
            first = Recipe(self.fusion, self.mode, head, LOSS, self.views, self.schedule, None)
            model, fitted = train_stage1(first, self.parts, seed=3, hooks=hooks)
            return model, [fitted]
        second = StageRecipe(LOSS, self.views, self.schedule)
        start = start_model(self.parts, self.fusion)
        return train_stage2(start, WEIGHTS, self.parts, second, seed=3, hooks=hooks)

    def kept(self) -> list[Path]:
        return sorted(path for path in (self.folder / "resume").rglob("*") if path.is_file())


def start_model(parts: Parts, fusion: Any) -> Classifier:
    head, views = Head((8,), dropout=0.2), ImageViews(train="plain", predict="plain")
    schedule = replace(STAGE1, epochs=2)
    recipe = Recipe(fusion, "multimodal", head, LOSS, views, schedule, stage2=None)
    return train_stage1(recipe, parts, seed=0)[0]


CASES: dict[str, dict[str, Any]] = {
    "plateau": {"number": 1, "schedule": "plateau", "lr_head": 0.05, "epochs": 8},
    "cosine": {"number": 1, "schedule": "cosine", "warmup": 0.2},
    "early-stopping": {"number": 1, "early_stop_patience": 3, "lr_head": 0.1, "epochs": 12},
    "no-validation": {"number": 1, "val": 0},
    "one-modality": {"number": 1, "input_mode": "text_only", "views": "plain"},
    "attention": {"number": 1, "fusion": "cross_attn"},
    "stage-2": {"number": 2},
    "stage-2-plateau": {"number": 2, "schedule": "plateau", "early_stop_patience": 3},
    "stage-2-bf16": {"number": 2, "precision": "bf16", "fusion": "gated"},
    "stage-2-new-head": {"number": 2, "restart_head": True},
    "start-wins": {"number": 2, "lr_head": 10.0, "lr_clip": 10.0, "noise": 0.2},
    "stage-2-threads": {"number": 2, "threads": 3, "encoder_dropout": 0.1},
    "several": {"number": 1, "several": True},
    "stage-2-several": {"number": 2, "several": True, "fusion": "cross_attn", "epochs": 4},
    "members": {"number": 2, "members": 3, "epochs": 2},
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_after_any_epoch_ends_with_the_same_bytes(
    case: str, tmp_path: Path
) -> None:
    stage = Stage(tmp_path, **CASES[case])
    undisturbed = stage.run()
    epochs = len(stage.seen)
    assert stage.kept() == []
    assert epochs >= 4
    for killed_after in range(1, epochs + 1):
        with pytest.raises(KilledError):
            stage.run(until=killed_after)
        assert stage.kept()
        assert stage.run() == undisturbed, killed_after
        assert stage.kept() == []


def test_the_cases_are_what_they_are_called(tmp_path: Path) -> None:
    early = Stage(tmp_path, **CASES["early-stopping"])
    early.run()
    assert 4 <= len(early.seen) < 12
    plateau = Stage(tmp_path, **CASES["plateau"]).run()["0.csv"].decode().splitlines()
    rates = {line.rpartition(",")[2] for line in plateau[1:]}
    assert len(rates) > 1, "the rate never fell"
    config = Stage(tmp_path, **CASES["start-wins"]).run()["config.json"].decode()
    assert '"best_epoch": 0' in config


def test_a_run_that_is_killed_again_and_again_trains_each_epoch_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 2, schedule="plateau")
    undisturbed = stage.run()
    for done in range(EPOCHS):
        with pytest.raises(KilledError):
            stage.run(until=done + 1)
        # The rows of the epochs before are told again, none is trained again.
        assert stage.seen == list(range(1, done + 2))
        assert len(stage.kept()) == 1
    assert stage.run() == undisturbed


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_state_is_ignored(damage: str, tmp_path: Path) -> None:
    stage = Stage(tmp_path, 1)
    undisturbed = stage.run()
    with pytest.raises(KilledError):
        stage.run(until=3)
    [path] = stage.kept()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes({"flipped": bytes(raw), "cut": bytes(raw[:-5]), "empty": b""}[damage])
    assert stage.run() == undisturbed
    assert stage.kept() == []


@pytest.mark.parametrize(
    "change",
    [
        {"lr_head": 0.02},
        {"epochs": EPOCHS + 1},
        {"batch_size": 12},
        {"data": 1},
        {"views": "plain"},
        {"fusion": "gated"},
        {"several": True},
    ],
    ids=str,
)
def test_a_state_is_not_taken_up_by_a_run_that_starts_from_something_else(
    change: dict[str, Any], tmp_path: Path
) -> None:
    expected = Stage(tmp_path / "alone", 1, **change).run()
    with pytest.raises(KilledError):
        Stage(tmp_path / "shared", 1).run(until=3)
    other = Stage(tmp_path / "shared", 1, **change)
    assert other.run() == expected
    assert len(other.kept()) == 1, "the other run's state is still there"


def test_a_state_is_not_taken_up_by_a_run_whose_samples_have_other_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, parts = Classifier(model_config()), make_parts(6, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    loop = Loop(model, optimizer, rates, np.random.default_rng(0))
    recipe, resume = StageRecipe(LOSS, ImageViews("plain", "plain"), STAGE1), Resume(tmp_path)
    for weights in (None, torch.ones(6), torch.full((6,), 0.5)):
        weighed = replace(parts, train=replace(parts.train, weights=weights))
        resume.enter(loop, weighed, recipe, None)
    assert len(set(resume.folders)) == 3


@pytest.mark.parametrize("trainable", [(), (OTHER_IMAGE, OTHER_TEXT), KEYS], ids=" ".join)
@pytest.mark.parametrize("fusion", ["concat", "cross_attn"])
def test_a_run_starts_from_what_its_model_reads_of_each_encoder_and_from_nothing_else(
    fusion: str, trainable: tuple[str, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = Classifier(model_config(fusion=fusion, encoders=encoders(*trainable)))
    tokens = {IMAGE, TEXT} - set(trainable) if fusion == "cross_attn" else set()
    lengths = ({TEXT, OTHER_TEXT} & set(trainable)) | (tokens & {TEXT})
    read = {"embeddings": set(KEYS), "tokens": tokens, "hidden": set(trainable), "offsets": lengths}

    def kept(parts: Parts) -> set[Path]:
        optimizer = torch.optim.AdamW(model.parameters())
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        loop = Loop(model, optimizer, rates, np.random.default_rng(0))
        recipe = StageRecipe(LOSS, ImageViews("plain", "plain"), STAGE1)
        Resume(tmp_path).enter(loop, parts, recipe, None).save(loop)
        return set(tmp_path.iterdir())

    [own] = kept(make_several(6, 3))
    for name, keys in read.items():
        for key in KEYS:
            parts = make_several(6, 3)
            values = getattr(parts.train.features.arrays[key], name)
            if values is None:  # images have no offsets
                continue
            values[0] += 1
            found = kept(parts) - {own}
            assert len(found) == (key in keys), (key, name)
            for folder in found:
                shutil.rmtree(folder)


@pytest.mark.parametrize("fusion", ["concat", "cross_attn"])
def test_of_arrays_whose_digest_was_noted_no_byte_is_read(fusion: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Classifier(model_config(fusion=fusion))
    read = {"embeddings"} | ({"tokens", "offsets"} if fusion == "cross_attn" else set())

    def state(digests: dict[str, dict[str, str]], shift: float = 0.0) -> Path:
        parts = make_parts(6, 3)
        features = replace(parts.train.features, digests=digests)
        features.arrays[TEXT].embeddings[0] += shift
        parts = replace(parts, train=replace(parts.train, features=features))
        optimizer = torch.optim.AdamW(model.parameters())
        rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        loop = Loop(model, optimizer, rates, np.random.default_rng(0))
        resume = Resume(tmp_path)
        resume.enter(loop, parts, StageRecipe(LOSS, ImageViews("plain", "plain"), STAGE1), None)
        return resume.folders[-1]

    names = ("embeddings", "tokens", "hidden", "offsets")
    noted = {key: {name: f"{key} {name}" for name in names} for key in (IMAGE, TEXT)}
    own = state(noted)
    assert state(noted, shift=1.0) == own
    for name in names:
        other = state({**noted, TEXT: {**noted[TEXT], name: "other"}})
        assert (other != own) == (name in read), name
    assert state({}) != own


def test_a_state_is_taken_up_on_another_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = Stage(tmp_path / "alone", **CASES["stage-2-threads"]).run()
    stage = Stage(tmp_path / "killed", **CASES["stage-2-threads"])
    with pytest.raises(KilledError):
        stage.run(until=3)
    monkeypatch.setattr("sentifuse.models.inference.cores", lambda: 1)
    taken_up = Stage(tmp_path / "killed", **CASES["stage-2-threads"])
    assert taken_up.run() == undisturbed
    assert taken_up.seen == [1, 2, 3, 4, 5]
    assert taken_up.kept() == []


def test_where_no_state_can_be_written_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(tmp_path, 1)
    undisturbed = stage.run()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sentifuse.training.resume.write_bytes", full)
    assert stage.run() == undisturbed
    err = capsys.readouterr().err
    assert err.count("No space left on device: a killed run will start afresh") == 1


def test_states_that_nobody_takes_up_are_deleted_after_a_while(tmp_path: Path) -> None:
    for name, days in (("old", 15), ("new", 13)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").touch()
        then = (tmp_path / name).stat().st_mtime - days * 86400
        os.utime(tmp_path / name, (then, then))
    Resume(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
