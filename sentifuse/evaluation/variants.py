"""Variants of the model, without one modality or with another fusion, trained side by side."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.config.recipe import ATTENDING, Fusion, InputMode, Recipe
from sentifuse.data import fold_table, splits
from sentifuse.errors import UserError
from sentifuse.features import schema as features
from sentifuse.features.parts import load_parts
from sentifuse.runtime import threads, worker
from sentifuse.runtime.progress import progress
from sentifuse.training.trial import Trial, run_trial
from sentifuse.training.two_stage import tail_weights


@dataclass(frozen=True)
class Variant:
    """One thing to train: `name` is an input mode or a fusion."""

    name: str
    fusion: Fusion
    input_mode: InputMode


class Job(NamedTuple):
    """One variant to train with `seed`; where `RunSetting` has folds, on `fold`."""

    variant: Variant
    seed: int
    fold: int = 0


@dataclass(frozen=True)
class RunSetting:
    """What all runs share.

    Attributes:
        features: the folder of the features.
        splits: the split table.
        labels: class names.
        recipe: how to train; each variant replaces `fusion` and `input_mode`.
        resplit: shares for validation and test if every run draws a split of its own; None for the split
            at hand.
        device: where to train, `cpu` or `cuda`.
        folds: the table of the folds, if each run is trained on one of them.
    """

    features: Path
    splits: Path
    labels: Sequence[str]
    recipe: Recipe
    resplit: tuple[float, float] | None
    device: str = "cpu"
    folds: Path | None = None


@dataclass(frozen=True)
class Run:
    """One trained variant.

    Attributes:
        variant: what was trained.
        seed: of training.
        split_seed: of the split that it drew; None for one that was there.
        trial: what it reaches.
    """

    variant: Variant
    seed: int
    split_seed: int | None
    trial: Trial


def of_mode(fusion: Fusion, mode: InputMode) -> Variant:
    """The model with `fusion` in `mode`; on one modality a fusion that attends becomes `concat`."""
    alone = mode != "multimodal" and fusion in ATTENDING
    return Variant(mode, "concat" if alone else fusion, mode)


def train_all(what: str, setting: RunSetting, jobs: Sequence[Job]) -> list[Run]:
    """Trains every variant with its seed, side by side on the cores, or on the GPUs.

    Args:
        what: stands before the progress.
        setting: what all runs share.
        jobs: what to train.

    Returns:
        One run per job, in the order given, whatever the number of cores.

    Raises:
        UserError: a recipe that does not fit the features, or a worker that was killed.
    """
    if not jobs:
        return []
    # Two runs side by side are faster than one after the other on two threads.
    most = min(threads.cores(), len(jobs))
    context, free, workers = worker.places(setting.device, most)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=worker.start_on, initargs=(free,)
    ) as pool:
        # The first `submit` starts the processes: before there is a thread that draws the progress.
        futures = [pool.submit(train, setting, job) for job in jobs]
        try:
            with progress(what, len(jobs), "runs") as shown:
                for future in as_completed(futures):
                    future.result()  # the first that failed ends them all
                    shown.advance(1)
        except BrokenProcessPool:
            raise UserError(
                f"{what}: a worker was killed (out of memory?): run `dvc repro` again, with more memory "
                "free or on fewer cores (`taskset -c 0 dvc repro`)"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]


def train(setting: RunSetting, job: Job) -> Run:
    """Trains the variant of `job` and applies it to the test part."""
    variant, seed, _ = job
    data = features.read(setting.features)
    parts = load_parts(data, _split(setting, job), setting.labels)
    recipe = replace(setting.recipe, fusion=variant.fusion, input_mode=variant.input_mode)
    weights = {}
    if recipe.stage2 is not None:
        weights = tail_weights(setting.features, data.meta)
    trial = run_trial(recipe, parts, weights, seed=seed, device=setting.device)
    return Run(variant, seed, None if setting.resplit is None else seed, trial)


def _split(setting: RunSetting, job: Job) -> pd.DataFrame:
    table = splits.read(setting.splits)
    if setting.folds is not None:
        return fold_table.of(table, fold_table.read(setting.folds), job.fold)
    if setting.resplit is not None:
        val_size, test_size = setting.resplit
        return splits.reassign(table, seed=job.seed, val_size=val_size, test_size=test_size)
    return table
