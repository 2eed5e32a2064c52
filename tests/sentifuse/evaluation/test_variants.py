"""Tests of training variants side by side."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from sentifuse.config import params
from sentifuse.config.recipe import InputMode
from sentifuse.data import splits
from sentifuse.errors import UserError
from sentifuse.evaluation import variants
from sentifuse.evaluation.variants import RunSetting, Variant
from sentifuse.features import schema
from sentifuse.runtime import precision
from stages import ablate
from tests.serial_pool import SerialPool
from tests.synthetic import LABELS, make_features
from tools.closure import ROOT

SIZES = {"train": 30, "val": 9, "test": 9}
CONCAT = Variant("multimodal", "concat", "multimodal")


def table(sizes: dict[str, int]) -> pd.DataFrame:
    parts = [name for name, size in sizes.items() for _ in range(size)]
    rows = [(str(index), LABELS[index % 3], part, str(index)) for index, part in enumerate(parts)]
    return pd.DataFrame(rows, columns=splits.COLUMNS, dtype=str)


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSetting:
    """The project's own params, but short, on made-up features that are read from memory."""
    own = params.load(ablate.Params, ROOT / "params.yaml")
    splits.write(table(SIZES), tmp_path / "splits.csv")
    made = make_features([index % 3 for index in range(sum(SIZES.values()))], noise=0.6)
    monkeypatch.setattr(schema, "read", lambda folder: made)
    monkeypatch.setattr(variants, "ProcessPoolExecutor", SerialPool)
    return RunSetting(
        features=tmp_path / "features",
        splits=tmp_path / "splits.csv",
        labels=LABELS,
        head=replace(own.head, hidden_dims=(8,)),
        loss=own.loss,
        image_views=replace(own.image_views, train="plain", predict="plain"),
        stage1=replace(own.stage1, epochs=4, batch_size=8, lr_head=0.02),
        stage2=replace(own.stage2, epochs=1, batch_size=8),
        finetune=False,
        resplit=None,
    )


@pytest.mark.parametrize("mode", ["multimodal", "text_only", "image_only"])
@pytest.mark.parametrize("fusion", ["concat", "gated", "film", "film_concat"])
def test_a_mode_keeps_the_fusion(fusion: str, mode: InputMode) -> None:
    assert variants.of_mode(fusion, mode) == Variant(mode, fusion, mode)


@pytest.mark.parametrize(
    ("mode", "fusion"),
    [("multimodal", "cross_attn"), ("text_only", "concat"), ("image_only", "concat")],
)
def test_a_fusion_that_attends_becomes_concat_on_one_modality(mode: InputMode, fusion: str) -> None:
    assert variants.of_mode("cross_attn", mode) == Variant(mode, fusion, mode)


def test_an_unknown_fusion_is_left_for_the_model_to_name() -> None:
    assert variants.of_mode("sum", "text_only").fusion == "sum"


def test_a_run_answers_on_the_test_part_of_the_split_at_hand(setting: RunSetting) -> None:
    run = variants.train(setting, CONCAT, 3)
    assert (run.variant, run.seed, run.split_seed, run.train_samples) == (CONCAT, 3, None, 30)
    assert run.targets.tolist() == [index % 3 for index in range(39, 48)]
    assert run.logits.shape == (9, 3)
    assert run.predicted.tolist() == run.logits.argmax(axis=1).tolist()


def test_each_seed_may_draw_a_split_of_its_own(setting: RunSetting) -> None:
    own = replace(setting, resplit=(0.25, 0.125))
    found = [variants.train(own, CONCAT, seed) for seed in (1, 2)]
    for seed, run in zip((1, 2), found, strict=True):
        drawn = splits.reassign(table(SIZES), seed=seed, val_size=0.25, test_size=0.125)
        expected = [LABELS.index(label) for label in drawn["label"][drawn["split"] == "test"]]
        assert (run.split_seed, run.train_samples, run.targets.tolist()) == (seed, 30, expected)
    assert found[0].targets.tolist() != found[1].targets.tolist()


def test_the_temperature_is_fitted_on_validation(setting: RunSetting) -> None:
    warm = variants.train(setting, CONCAT, 3).temperature
    # The same training with other labels on validation: no epoch is chosen, so weights are the same.
    last = replace(setting, stage1=replace(setting.stage1, epochs=1))
    plain = variants.train(last, CONCAT, 3)
    wrong = table(SIZES)
    of_val = wrong["split"] == "val"
    wrong.loc[of_val, "label"] = np.roll(wrong.loc[of_val, "label"], 1)
    splits.write(wrong, setting.splits)
    other = variants.train(last, CONCAT, 3)
    assert np.array_equal(plain.logits, other.logits)
    assert warm != 1.0
    assert other.temperature > plain.temperature


def test_without_validation_the_temperature_is_one(setting: RunSetting) -> None:
    splits.write(table({"train": 39, "test": 9}), setting.splits)
    assert variants.train(setting, CONCAT, 3).temperature == 1.0


def test_finetuning_follows_if_asked_for(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = variants.train(setting, CONCAT, 3)
    calls: list[dict[str, object]] = []

    def stage2(start: object, *arguments: object, seed: int) -> SimpleNamespace:
        calls.append({"start": start, "seed": seed})
        with torch.no_grad():
            for weight in start.parameters():  # type: ignore[attr-defined]
                weight.zero_()
        return SimpleNamespace(model=start, fitted=SimpleNamespace(precision="bf16"))

    monkeypatch.setattr(variants, "tail_weights", lambda folder, meta: {})
    monkeypatch.setattr(variants, "train_stage2", stage2)
    tuned = variants.train(replace(setting, finetune=True), CONCAT, 3)
    assert [call["seed"] for call in calls] == [3]
    assert (frozen.precision, tuned.precision) == (precision.resolve("auto"), "bf16")
    assert frozen.logits.any()
    # It is stage 2's model that answers.
    assert not tuned.logits.any()


def test_runs_come_in_the_order_of_the_jobs(setting: RunSetting) -> None:
    text = Variant("text_only", "concat", "text_only")
    jobs = [(text, 5), (CONCAT, 4), (text, 4)]
    found = variants.train_all("test", setting, jobs)
    assert [(run.variant, run.seed) for run in found] == jobs
    for run, job in zip(found, jobs, strict=True):
        assert np.array_equal(run.logits, variants.train(setting, *job).logits)


def test_no_jobs_need_neither_data_nor_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError

    monkeypatch.setattr(variants, "ProcessPoolExecutor", refuse)
    assert variants.train_all("test", None, []) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(("cores", "jobs", "workers"), [(8, 2, 2), (2, 3, 2)])
def test_there_are_no_more_workers_than_cores_or_jobs(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch, cores: int, jobs: int, workers: int
) -> None:
    asked: list[int] = []

    def pool(workers: int, mp_context: object, initializer: object) -> SerialPool:
        asked.append(workers)
        return SerialPool(workers, mp_context=mp_context)

    monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda: cores)
    monkeypatch.setattr(variants, "ProcessPoolExecutor", pool)
    assert len(variants.train_all("test", setting, [(CONCAT, 1)] * jobs)) == jobs
    assert asked == [workers]


def test_an_unknown_fusion_is_named(setting: RunSetting) -> None:
    with pytest.raises(UserError, match=r"^fusion: 'sum': not one of concat, "):
        variants.train_all("test", setting, [(Variant("sum", "sum", "multimodal"), 1)])


def test_a_worker_that_is_killed_is_told_in_one_line(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "ProcessPoolExecutor", ProcessPoolExecutor)
    monkeypatch.setattr(variants, "train", _killed)
    with pytest.raises(
        UserError, match=r"^ablate: a worker was killed \(out of memory\?\): run `dvc"
    ):
        variants.train_all("ablate", setting, [(CONCAT, 0), (CONCAT, 1)])


def _killed(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
