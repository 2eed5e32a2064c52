"""What it costs to leave a modality out, or to fuse otherwise: scores over runs, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.config.recipe import Fusion, InputMode, IntervalOptions
from sentifuse.evaluation import rescued
from sentifuse.evaluation.variants import Run, Variant, of_mode
from sentifuse.metrics import scores as metrics
from sentifuse.metrics import significance
from sentifuse.metrics.scores import COMPARED, Floats
from sentifuse.metrics.significance import Difference, Measure

# What every other variant is compared with.
REFERENCE = "multimodal"
NOTE = "test_size is 0: there is nothing to compare on"
# The scores of each class.
OF_CLASS = ("f1", "recall")
_MINUS = f"minus_{REFERENCE}"
_BAR_COLUMNS = ["variant", *COMPARED]
_RUN_COLUMNS = ["variant", "seed", "split_seed", "train_samples", "test_samples", *COMPARED]
_CLASS_COLUMNS = [
    "variant", "label", "score", "mean", "sd", _MINUS, "low", "high", "p_value", "p_holm"
]  # fmt: skip

# One of `COMPARED` and None, or one of `OF_CLASS` and a class name.
Score = tuple[str, str | None]
# Variant -> its difference to `REFERENCE` in each score.
Differences = dict[str, dict[Score, Difference]]


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
    return {name: [run.trial.test[score] for run in own] for name, own in _by_variant(runs).items()}


def differences(
    runs: Sequence[Run], labels: Sequence[str], interval: IntervalOptions, *, seed: int
) -> Differences:
    """The paired difference of every other variant to `REFERENCE`; none where it was not trained.

    If each run has a split of its own, they are tested over splits (`significance.corrected_t_test`), else
    over test samples (`significance.over_samples`). The p-values of a score are corrected for the number of
    variants; those of a score of each class, for variants times classes (`significance.holm`).

    Args:
        runs: the same seeds of every variant.
        labels: class names in the order of the logits.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the bootstrap.
    """
    own = _by_variant(runs)
    reference = own.pop(REFERENCE, None)
    if reference is None:
        return {}
    measure = partial(_measure, labels)
    if _resplit(runs):
        found = {name: _over_splits(own[name], reference, measure, interval.level) for name in own}
    else:
        found = {name: _over_samples(own[name], reference, measure, interval, seed) for name in own}
    for score in (*COMPARED, *OF_CLASS):
        family = {
            (name, key): difference
            for name, row in found.items()
            for key, difference in row.items()
            if key[0] == score
        }
        for (name, key), difference in significance.holm(family).items():
            found[name][key] = difference
    return found


def summary(
    runs: Sequence[Run], found: Differences, samples: pd.DataFrame, level: float
) -> dict[str, Any]:
    """Scores and differences by variant.

    Args:
        runs: all of them.
        found: their `differences`.
        samples: their `rescued.table`.
        level: of the intervals of counts, 0..1.

    Returns:
        Variant -> `runs`; the `precision` of training; for each of `COMPARED` its `mean` and `sd` (sample
        standard deviation; 0 for one run); for all but the reference, `minus_multimodal` with the
        `method` and the fields of `significance.Difference` that are known; and for those of one modality,
        `left_out` with the name of the other `modality` and the samples that it rescues and breaks
        (`rescued.counts`).
    """
    out: dict[str, Any] = {}
    for name, own in _by_variant(runs).items():
        row: dict[str, Any] = {"runs": len(own), "precision": own[-1].trial.precision}
        row |= {score: _spread([run.trial.test[score] for run in own]) for score in COMPARED}
        if name in found:
            method = significance.CORRECTED_T if _resplit(own) else significance.BOOTSTRAP
            known = {score: _known(found[name][score, None]) for score in COMPARED}
            row[_MINUS] = {"method": method, **known}
        modality = rescued.LEFT_OUT.get(own[0].variant.input_mode)
        if name in found and modality:
            counted = rescued.counts(samples, REFERENCE, name, level)
            row["left_out"] = {"modality": modality, **counted}
        out[name] = row
    return out


def means(summarised: Mapping[str, Any]) -> pd.DataFrame:
    """One row per variant of a `summary`: the mean of each of `COMPARED`, for bars."""
    rows = [
        {"variant": name, **{score: row[score]["mean"] for score in COMPARED}}
        for name, row in summarised.items()
    ]
    return pd.DataFrame(rows, columns=_BAR_COLUMNS)


def classes(runs: Sequence[Run], labels: Sequence[str], found: Differences) -> pd.DataFrame:
    """One row per variant, class and score of `OF_CLASS`: its mean and sample standard deviation over runs,
    and what is known of its difference to `REFERENCE`."""
    rows = []
    for name, own in _by_variant(runs).items():
        values = _measure(labels, _confusions(own))
        for label in labels:
            for score in OF_CLASS:
                row: dict[str, Any] = {"variant": name, "label": label, "score": score}
                difference = _known(found[name][score, label]) if name in found else {}
                if difference:
                    difference[_MINUS] = difference.pop("mean")
                rows.append(row | _spread(values[score, label].tolist()) | difference)
    return pd.DataFrame(rows, columns=_CLASS_COLUMNS)


def told(summarised: Mapping[str, Any]) -> str:
    """The lines that say what a `summary` found."""
    lines = [_told(name, row) for name, row in summarised.items()]
    for row in summarised.values():
        if "left_out" in row:
            other = row["left_out"]
            rescues, breaks = (
                f"{own['count']} ({own['low']:.0f} to {own['high']:.0f})"
                for own in (other["rescued"], other["broken"])
            )
            lines.append(
                f"of {other['samples']} samples the {other['modality']} rescues {rescues} and breaks {breaks}"
            )
    return "\n".join(lines) or NOTE


def _by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    out: dict[str, list[Run]] = {}
    for run in runs:
        out.setdefault(run.variant.name, []).append(run)
    return out


def _resplit(runs: Sequence[Run]) -> bool:
    """Whether each run had a split of its own."""
    return runs[0].split_seed is not None


def _confusions(runs: Sequence[Run]) -> NDArray[np.int64]:
    """(J, C, C), one per run."""
    trials = [run.trial for run in runs]
    return np.stack(
        [metrics.confusion(own.targets, own.predicted, own.logits.shape[1]) for own in trials]
    )


def _measure(labels: Sequence[str], confusions: NDArray[Any]) -> dict[Score, Floats]:
    """All scores that variants are compared by, of confusion matrices (..., C, C): (...,) each."""
    whole, own = metrics.summary(confusions), metrics.per_class(confusions)
    out: dict[Score, Floats] = {(score, None): whole[score] for score in COMPARED}
    for score in OF_CLASS:
        out |= {(score, label): own[score][..., place] for place, label in enumerate(labels)}
    return out


def _over_splits(
    first: Sequence[Run], second: Sequence[Run], measure: Measure[Score], level: float
) -> dict[Score, Difference]:
    # Grouped splits differ by a few samples in size.
    ratio = float(np.mean([len(run.trial.targets) / run.trial.train_samples for run in first]))
    one, other = measure(_confusions(first)), measure(_confusions(second))
    return {
        score: significance.corrected_t_test(one[score] - other[score], ratio, level)
        for score in one
    }


def _over_samples(
    first: Sequence[Run],
    second: Sequence[Run],
    measure: Measure[Score],
    interval: IntervalOptions,
    seed: int,
) -> dict[Score, Difference]:
    predicted = np.stack([[run.trial.predicted for run in runs] for runs in (first, second)])
    trial = first[0].trial
    return significance.over_samples(
        trial.targets, predicted, trial.logits.shape[1], measure, interval=interval, seed=seed
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": mean(values), "sd": stdev(values) if len(values) > 1 else 0.0}


def _known(difference: Difference) -> dict[str, float]:
    return {name: value for name, value in asdict(difference).items() if value is not None}


def _told(name: str, row: Mapping[str, Any]) -> str:
    cells = []
    for score in COMPARED:
        cell = f"{score} {row[score]['mean']:.3f} +- {row[score]['sd']:.3f}"
        difference = row.get(_MINUS, {}).get(score, {})
        if "low" in difference:
            cell += (
                f" ({100 * difference['mean']:+.1f} points, {100 * difference['low']:+.1f} to "
                f"{100 * difference['high']:+.1f}, Holm p {difference['p_holm']:.3f})"
            )
        cells.append(cell)
    return f"{name:>12}: {', '.join(cells)} ({row['runs']} runs)"
