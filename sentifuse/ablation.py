"""Trains the model without one modality, or with another fusion, several times over."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd

from sentifuse import features, splits
from sentifuse.dataset import load_parts
from sentifuse.errors import UserError
from sentifuse.files import write_json, write_text
from sentifuse.fusion import FUSIONS
from sentifuse.metrics import headline
from sentifuse.progress import progress
from sentifuse.recipe import Head, ImageViews, Loss, Stage1, Stage2
from sentifuse.training import predict
from sentifuse.two_stage import Architecture, tail_weights, train_stage1, train_stage2

SCORES = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Variant:
    """One thing to train: `name` is an input mode or a fusion."""

    name: str
    fusion: str
    input_mode: str


@dataclass(frozen=True)
class Setting:
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
    """The scores of one run on the test part, 0..1."""

    variant: str
    seed: int
    accuracy: float
    macro_f1: float


def variants(fusion: str, modes: Sequence[str], fusions: Sequence[str]) -> list[Variant]:
    """`fusion` in each of `modes`, then each other one of `fusions` on both modalities.

    An attending fusion cannot run on one modality; its unimodal variants use `concat`.
    """
    unimodal = "concat" if fusion == "cross_attn" else fusion
    out = [
        Variant(mode, fusion if mode == "multimodal" else unimodal, mode)
        for mode in dict.fromkeys(modes)
    ]
    return out + [
        Variant(name, name, "multimodal") for name in dict.fromkeys(fusions) if name != fusion
    ]


def ablate(setting: Setting, wanted: Sequence[Variant], seeds: Sequence[int]) -> list[Run]:
    """Trains every variant with every seed, runs side by side on the cores.

    Returns:
        Variants in the given order, seeds in the given order within each; nothing where there is
        no test part.

    Raises:
        UserError: a fusion that is not known.
    """
    if not (splits.read(setting.splits)["split"] == "test").any():
        return []
    for variant in wanted:
        if variant.fusion not in FUSIONS:
            raise UserError(f"ablate.fusions: {variant.name!r}: not one of {', '.join(FUSIONS)}")
    jobs = [(variant, seed) for variant in wanted for seed in seeds]
    workers = min(len(os.sched_getaffinity(0)), len(jobs))
    # One thread each: two runs side by side are faster than one after the other on two threads.
    with (
        progress("ablate", len(jobs), "runs") as shown,
        ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        futures = {pool.submit(_train, setting, *job): job for job in jobs}
        for _ in as_completed(futures):
            shown.advance(1)
        return [future.result() for future in futures]


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Variant -> `runs` and, for each score, `mean` and `sd` (sample standard deviation; 0 for one)."""
    out: dict[str, Any] = {}
    for score in SCORES:
        for name, values in scores(runs, score).items():
            row = out.setdefault(name, {"runs": len(values)})
            row[score] = {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else 0.0}
    return out


def scores(runs: Sequence[Run], score: str) -> dict[str, list[float]]:
    """Variant -> `score` of each of its runs."""
    out: dict[str, list[float]] = {}
    for run in runs:
        out.setdefault(run.variant, []).append(getattr(run, score))
    return out


def write(runs: Sequence[Run], metrics: Path, bars: Path, every: Path) -> None:
    """Writes the summary as JSON, its means as a CSV for bars, and every run as a CSV."""
    found = summary(runs)
    write_json(metrics, found or {"note": "test_size is 0: there is nothing to compare on"})
    means = [
        {"variant": name, "accuracy": row["accuracy"]["mean"], "macro_f1": row["macro_f1"]["mean"]}
        for name, row in found.items()
    ]
    for path, rows, columns in (
        (bars, means, ["variant", "accuracy", "macro_f1"]),
        (every, [asdict(run) for run in runs], ["variant", "seed", "accuracy", "macro_f1"]),
    ):
        table = pd.DataFrame(rows, columns=columns)
        write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6f"))
    for name, row in found.items():
        cells = [f"{score} {row[score]['mean']:.3f} +- {row[score]['sd']:.3f}" for score in SCORES]
        print(f"{name:>12}: {', '.join(cells)} ({row['runs']} runs)")


def _train(setting: Setting, variant: Variant, seed: int) -> Run:
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
    logits = predict(trained.model, parts.test, setting.image_views.predict)
    found = headline(parts.test.targets.numpy(), logits.argmax(dim=1).numpy(), len(setting.labels))
    return Run(variant.name, seed, **found)
