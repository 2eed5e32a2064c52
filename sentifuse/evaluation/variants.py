"""Variants of the model, without one modality or with another fusion, trained side by side."""

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentifuse.config.recipe import ATTENDING, Head, ImageViews, InputMode, Loss, Stage1, Stage2
from sentifuse.data import splits
from sentifuse.errors import UserError
from sentifuse.features import schema as features
from sentifuse.features.batches import load_parts
from sentifuse.metrics import calibration
from sentifuse.metrics.scores import ClassIndices
from sentifuse.models.inference import predict
from sentifuse.runtime import threads, worker
from sentifuse.runtime.progress import progress
from sentifuse.training.two_stage import Architecture, tail_weights, train_stage1, train_stage2

# A fork need not import torch again, and ends at once. Elsewhere than on Linux it is not safe.
_START = "fork" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True)
class Variant:
    """One thing to train: `name` is an input mode or a fusion."""

    name: str
    fusion: str
    input_mode: str


@dataclass(frozen=True)
class RunSetting:
    """What all runs share; the fields are sections of `params.yaml`.

    Attributes:
        finetune: whether stage 2 follows stage 1.
        resplit: share for validation and for the test if every run draws a split of its own; None
            for the split at hand.
    """

    features: Path
    splits: Path
    labels: Sequence[str]
    head: Head
    loss: Loss
    image_views: ImageViews
    stage1: Stage1
    stage2: Stage2
    finetune: bool
    resplit: tuple[float, float] | None


@dataclass(frozen=True)
class Run:
    """One trained variant and what it answers on the N samples of the test part.

    Attributes:
        variant: what was trained.
        seed: of training.
        split_seed: of the split; None for the split that all runs share.
        train_samples: how many it was trained on.
        targets: (N,) class indices.
        logits: (N, C).
        temperature: fitted on validation; 1 without a validation part.
        precision: that it was trained in, `fp32` or `bf16`.
    """

    variant: Variant
    seed: int
    split_seed: int | None
    train_samples: int
    targets: ClassIndices
    logits: NDArray[np.float32]
    temperature: float
    precision: str

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C), with the temperature."""
        out: NDArray[np.float64] = calibration.softmax(self.logits, self.temperature)
        return out

    @property
    def predicted(self) -> ClassIndices:
        """(N,) class indices."""
        out: ClassIndices = self.logits.argmax(axis=1)
        return out


def of_mode(fusion: str, mode: InputMode) -> Variant:
    """The model with `fusion` that sees what `mode` leaves it.

    An attending fusion cannot run on one modality; its unimodal variants use `concat`.
    """
    alone = mode != "multimodal" and fusion in ATTENDING
    return Variant(mode, "concat" if alone else fusion, mode)


def train_all(what: str, setting: RunSetting, jobs: Sequence[tuple[Variant, int]]) -> list[Run]:
    """Trains every variant with its seed, side by side on the cores.

    Args:
        what: stands before the progress.
        setting: what all runs share.
        jobs: variants and seeds.

    Returns:
        A run a job, in the order given, whatever the number of cores.

    Raises:
        UserError: a fusion that is not known, a recipe that does not fit the features, or a worker
            that was killed.
    """
    if not jobs:
        return []
    workers = min(threads.cores(), len(jobs))
    # Two runs side by side are faster than one after the other on two threads.
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context(_START),
        initializer=worker.start,
    ) as pool:
        # The first one starts the processes: before there is a thread that draws the progress.
        futures = [pool.submit(train, setting, *job) for job in jobs]
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


def train(setting: RunSetting, variant: Variant, seed: int) -> Run:
    """Trains `variant` and applies it to the test part."""
    data = features.read(setting.features)
    table = splits.read(setting.splits)
    if setting.resplit is not None:
        val_size, test_size = setting.resplit
        table = splits.reassign(table, seed=seed, val_size=val_size, test_size=test_size)
    parts = load_parts(data, table, setting.labels)
    architecture = Architecture(variant.fusion, variant.input_mode, setting.head)
    trained = train_stage1(
        parts, architecture, setting.loss, setting.image_views, setting.stage1, seed=seed
    )
    if setting.finetune:
        trained = train_stage2(
            trained.model,
            parts,
            tail_weights(setting.features, data.meta),
            setting.loss,
            setting.image_views,
            setting.stage2,
            seed=seed,
        )
    views = setting.image_views.predict
    val = predict(trained.model, parts.val, views).numpy()
    return Run(
        variant,
        seed,
        split_seed=None if setting.resplit is None else seed,
        train_samples=len(parts.train),
        targets=parts.test.targets.numpy(),
        logits=predict(trained.model, parts.test, views).numpy(),
        temperature=calibration.fit_temperature(val, parts.val.targets.numpy()),
        precision=trained.fitted.precision,
    )
