"""What it costs to leave a modality out, or to fuse otherwise: scores over runs, paired differences."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd

from sentifuse.config.recipe import Fusion, InputMode, IntervalOptions
from sentifuse.evaluation.variants import Run, Variant, of_mode
from sentifuse.metrics import significance
from sentifuse.metrics.scores import COMPARED
from sentifuse.metrics.significance import Difference
from sentifuse.runtime.files import write_csv, write_json

# What every other variant is compared with.
REFERENCE = "multimodal"
NOTE = "test_size is 0: there is nothing to compare on"
_BAR_COLUMNS = ["variant", *COMPARED]
_RUN_COLUMNS = ["variant", "seed", "split_seed", "train_samples", "test_samples", *COMPARED]


def variants(
    fusion: Fusion, modes: Sequence[InputMode], fusions: Sequence[Fusion]
) -> list[Variant]:
    """`fusion` in each of `modes`, then each other one of `fusions` on both modalities."""
    others = [name for name in dict.fromkeys(fusions) if name != fusion]
    return [
        *(of_mode(fusion, mode) for mode in dict.fromkeys(modes)),
        *(Variant(name, name, "multimodal") for name in others),
    ]


def table(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: its variant, seeds (`split_seed` is empty where all runs share a split), sizes and
    the scores `COMPARED`, 0..1."""
    rows = [
        {
            "variant": run.variant.name,
            "seed": run.seed,
            "split_seed": run.split_seed,
            "train_samples": run.trial.train_samples,
            "test_samples": len(run.trial.targets),
            **run.trial.test,
        }
        for run in runs
    ]
    return pd.DataFrame(rows, columns=_RUN_COLUMNS).astype({"split_seed": "Int64"})


def scores(runs: Sequence[Run], score: str) -> dict[str, list[float]]:
    """Variant -> `score` of each of its runs."""
    out: dict[str, list[float]] = {}
    for run in runs:
        out.setdefault(run.variant.name, []).append(run.trial.test[score])
    return out


def summary(
    runs: Sequence[Run], interval: IntervalOptions, *, resplit: bool, seed: int
) -> dict[str, Any]:
    """Scores by variant, and their paired differences to `REFERENCE`.

    Args:
        runs: the same seeds of every variant.
        interval: level of the intervals, resamples of the bootstrap.
        resplit: whether each seed had a split of its own. Then the differences are tested over splits
            (`significance.corrected_t_test`), else over test samples (`significance.over_samples`).
        seed: of the bootstrap.

    Returns:
        Variant -> `runs`; the `precision` of training; for each of `COMPARED` its `mean` and `sd` (sample
        standard deviation; 0 for one run); and, for all but the reference, `minus_multimodal` with the
        `method` and the fields of `significance.Difference` that are known.
    """
    own: dict[str, list[Run]] = {}
    for run in runs:
        own.setdefault(run.variant.name, []).append(run)
    out: dict[str, Any] = {}
    for name, each in own.items():
        out[name] = {"runs": len(each), "precision": each[-1].trial.precision}
        for score in COMPARED:
            [values] = scores(each, score).values()
            out[name][score] = {
                "mean": mean(values),
                "sd": stdev(values) if len(values) > 1 else 0.0,
            }
        if name == REFERENCE or REFERENCE not in own:
            continue
        found = (
            _over_splits(each, own[REFERENCE], interval.level)
            if resplit
            else _over_samples(each, own[REFERENCE], interval, seed)
        )
        out[name][f"minus_{REFERENCE}"] = {
            "method": significance.CORRECTED_T if resplit else significance.BOOTSTRAP,
            **{score: _known(found[score]) for score in COMPARED},
        }
    return out


def write(
    runs: Sequence[Run], summarised: dict[str, Any], metrics: Path, bars: Path, every: Path
) -> None:
    """Writes the summary as JSON, its means as a CSV for bars, and every run as a CSV; prints it."""
    write_json(metrics, summarised or {"note": NOTE})
    means = [
        {"variant": name, **{score: row[score]["mean"] for score in COMPARED}}
        for name, row in summarised.items()
    ]
    write_csv(bars, pd.DataFrame(means, columns=_BAR_COLUMNS))
    write_csv(every, table(runs))
    print("\n".join(_told(name, row) for name, row in summarised.items()) or NOTE)


def _over_splits(
    first: Sequence[Run], second: Sequence[Run], level: float
) -> dict[str, Difference]:
    # Grouped splits differ by a few samples in size.
    ratio = np.mean([len(run.trial.targets) / run.trial.train_samples for run in first])
    one, other = table(first), table(second)
    return {
        score: significance.corrected_t_test(
            (one[score] - other[score]).to_numpy(), float(ratio), level
        )
        for score in COMPARED
    }


def _over_samples(
    first: Sequence[Run], second: Sequence[Run], interval: IntervalOptions, seed: int
) -> dict[str, Difference]:
    trial = first[0].trial
    return significance.over_samples(
        trial.targets,
        np.stack([run.trial.predicted for run in first]),
        np.stack([run.trial.predicted for run in second]),
        trial.logits.shape[1],
        interval=interval,
        seed=seed,
    )


def _known(difference: Difference) -> dict[str, float]:
    return {name: value for name, value in asdict(difference).items() if value is not None}


def _told(name: str, row: dict[str, Any]) -> str:
    cells = []
    for score in COMPARED:
        cell = f"{score} {row[score]['mean']:.3f} +- {row[score]['sd']:.3f}"
        difference = row.get(f"minus_{REFERENCE}", {}).get(score, {})
        if "low" in difference:
            cell += (
                f" ({100 * difference['mean']:+.1f} points, {100 * difference['low']:+.1f} to "
                f"{100 * difference['high']:+.1f}, p {difference['p_value']:.3f})"
            )
        cells.append(cell)
    return f"{name:>12}: {', '.join(cells)} ({row['runs']} runs)"
