"""Tests of training variants side by side."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentifuse.config import params
from sentifuse.config.recipe import Fusion, InputMode, Recipe
from sentifuse.data import fold_table, splits
from sentifuse.errors import UserError
from sentifuse.evaluation import variants
from sentifuse.evaluation.variants import Job, RunSetting, Variant
from sentifuse.features import schema
from sentifuse.features.parts import Parts
from sentifuse.runtime import files
from sentifuse.training import trial
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
    files.write_csv(tmp_path / "splits.csv", table(SIZES))
    made = make_features([index % 3 for index in range(sum(SIZES.values()))], noise=0.6)
    monkeypatch.setattr(schema, "read", lambda folder: made)
    monkeypatch.setattr(variants, "ProcessPoolExecutor", SerialPool)
    return RunSetting(
        features=tmp_path / "features",
        splits=tmp_path / "splits.csv",
        labels=LABELS,
        recipe=Recipe(
            fusion="concat",
            input_mode="multimodal",
            head=replace(own.head, hidden_dims=(8,)),
            loss=own.loss,
            image_views=replace(own.image_views, train="plain", predict="plain"),
            stage1=replace(own.stage1, epochs=4, batch_size=8, lr_head=0.02),
            stage2=None,
        ),
        resplit=None,
    )


@pytest.mark.parametrize("mode", ["multimodal", "text_only", "image_only"])
@pytest.mark.parametrize("fusion", ["concat", "gated", "film", "film_concat"])
def test_a_mode_keeps_the_fusion(fusion: Fusion, mode: InputMode) -> None:
    assert variants.of_mode(fusion, mode) == Variant(mode, fusion, mode)


@pytest.mark.parametrize(
    ("mode", "fusion"),
    [("multimodal", "cross_attn"), ("text_only", "concat"), ("image_only", "concat")],
)
def test_a_fusion_that_attends_becomes_concat_on_one_modality(
    mode: InputMode, fusion: Fusion
) -> None:
    assert variants.of_mode("cross_attn", mode) == Variant(mode, fusion, mode)


def test_a_run_answers_on_the_test_part_of_the_split_at_hand(setting: RunSetting) -> None:
    run = variants.train(setting, Job(CONCAT, 3))
    assert (run.variant, run.seed, run.split_seed) == (CONCAT, 3, None)
    assert run.trial.train_samples == 30
    assert run.trial.targets.tolist() == [index % 3 for index in range(39, 48)]
    assert run.trial.logits.shape == (9, 3)


def test_each_seed_may_draw_a_split_of_its_own(setting: RunSetting) -> None:
    own = replace(setting, resplit=(0.25, 0.125))
    found = [variants.train(own, Job(CONCAT, seed)) for seed in (1, 2)]
    for seed, run in zip((1, 2), found, strict=True):
        drawn = splits.reassign(table(SIZES), seed=seed, val_size=0.25, test_size=0.125)
        expected = [LABELS.index(label) for label in drawn["label"][drawn["split"] == "test"]]
        assert (run.split_seed, run.trial.train_samples) == (seed, 30)
        assert run.trial.targets.tolist() == expected
    assert found[0].trial.targets.tolist() != found[1].trial.targets.tolist()


def test_each_job_may_have_a_fold_of_its_own_which_its_model_never_saw(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = table(SIZES)
    number = base["guid"].astype(int) % 4
    tables = [base.assign(split=np.where(number == fold, "test", "train")) for fold in range(4)]
    for each in tables:
        each.loc[each["guid"] == "47", "split"] = "val"
    files.write_csv(setting.splits.with_name("folds.csv"), fold_table.make(tables))
    own = replace(setting, folds=setting.splits.with_name("folds.csv"))
    seen: list[Parts] = []

    def recorded(recipe: Recipe, parts: Parts, *more: Any, **named: Any) -> Any:
        seen.append(parts)
        return trial.run_trial(recipe, parts, *more, **named)

    monkeypatch.setattr(variants, "run_trial", recorded)
    found = variants.train_all("test", own, [Job(CONCAT, 5 + fold, fold) for fold in (2, 0)])
    for fold, run, parts in zip((2, 0), found, seen, strict=True):
        tested = {guid for guid in base["guid"][number == fold] if guid != "47"}
        assert set(run.trial.guids) == set(parts.test.guids) == tested
        assert tested.isdisjoint([*parts.train.guids, *parts.val.guids])
        assert len(parts.train.guids) == 47 - len(tested)
        assert (run.seed, run.split_seed) == (5 + fold, None)


def test_a_variant_has_its_own_fusion_and_mode(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes: list[Recipe] = []
    monkeypatch.setattr(variants, "run_trial", lambda recipe, *_, **__: recipes.append(recipe))
    variants.train(setting, Job(Variant("text_only", "gated", "text_only"), 3))
    assert recipes == [replace(setting.recipe, fusion="gated", input_mode="text_only")]


def test_all_members_of_the_recipe_are_finetuned_from_the_folders_weights(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = params.load(ablate.Params, ROOT / "params.yaml")
    tuned = replace(setting.recipe, stage2=replace(own.stage2, epochs=1, members=3))
    calls: list[Any] = []

    def stage2(start: object, weights: object, *more: Any, **_: object) -> Any:
        calls.append((weights, more[1].schedule.members))
        return start, []

    monkeypatch.setattr(variants, "tail_weights", lambda folder, meta: folder.name)
    monkeypatch.setattr(trial, "train_stage2", stage2)
    variants.train(replace(setting, recipe=tuned), Job(CONCAT, 3))
    assert calls == [("features", 3)]


def test_runs_come_in_the_order_of_the_jobs(setting: RunSetting) -> None:
    text = Variant("text_only", "concat", "text_only")
    jobs = [Job(text, 5), Job(CONCAT, 4), Job(text, 4)]
    found = variants.train_all("test", setting, jobs)
    assert [Job(run.variant, run.seed) for run in found] == jobs
    for run, job in zip(found, jobs, strict=True):
        assert np.array_equal(run.trial.logits, variants.train(setting, job).trial.logits)


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

    def pool(workers: int, mp_context: Any, initializer: Any, initargs: Any) -> SerialPool:
        asked.append(workers)
        return SerialPool(workers, mp_context=mp_context)

    monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda: cores)
    monkeypatch.setattr(variants, "ProcessPoolExecutor", pool)
    assert len(variants.train_all("test", setting, [Job(CONCAT, 1)] * jobs)) == jobs
    assert asked == [workers]


def test_what_fails_in_a_worker_is_told(setting: RunSetting) -> None:
    unknown = Variant("sum", "sum", "multimodal")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^fusion: 'sum': not one of concat, "):
        variants.train_all("test", setting, [Job(unknown, 1)])


def test_a_worker_that_is_killed_is_told_in_one_line(
    setting: RunSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variants, "ProcessPoolExecutor", ProcessPoolExecutor)
    monkeypatch.setattr(variants, "train", _killed)
    with pytest.raises(
        UserError, match=r"^ablate: a worker was killed \(out of memory\?\): run `dvc"
    ):
        variants.train_all("ablate", setting, [Job(CONCAT, 0), Job(CONCAT, 1)])


def _killed(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
