"""Statistics over experiments: ranks, groups, and correlations with the metric."""

import difflib
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from sentifuse.errors import UserError
from sentifuse.experiments.read import Experiment

# Experiments that differ in one of these were scored on different samples.
DATA_KEYS = ("labels", "data", "split", "demo")
_LEAST_FOR_CORRELATION = 3


@dataclass(frozen=True)
class Correlation:
    """Pearson's r of a key or of `log10(key)` with the metric; p is two-sided, for normal errors."""

    name: str
    r: float
    p: float
    n: int


def is_test(metric: str) -> bool:
    """Whether the metric is of the test part, as all of `ablate` and `baselines` are."""
    parts = metric.split(".")
    return "test" in parts or parts[0] in ("ablate", "baselines")


def param_text(experiment: Experiment, key: str) -> str:
    """A param as text: text as it is, anything else as JSON; empty where the experiment lacks it."""
    found = experiment.params.get(key, "")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def param_names(experiments: Iterable[Experiment]) -> list[str]:
    """All keys, in the order of `params.yaml`."""
    return list(dict.fromkeys(key for experiment in experiments for key in experiment.params))


def metric_names(experiments: Iterable[Experiment]) -> list[str]:
    """All metrics, in the order of their files."""
    return list(dict.fromkeys(key for experiment in experiments for key in experiment.metrics))


def check_known(kind: str, names: Iterable[str], known: Sequence[str], note: str = "") -> None:
    """Raises a `UserError`, with names like it and `note`, for the first of `names` that is not `known`."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
            parts = set(name.split("."))
            near += [other for other in known if parts & set(other.split("."))]
            like = ", ".join(list(dict.fromkeys(near))[:6] or known[:6])
            raise UserError(f"{name}: no experiment has such a {kind}; there is {like}{note}")


def select(experiments: Iterable[Experiment], where: Mapping[str, str]) -> list[Experiment]:
    """The experiments whose params have these values, as `param_text` writes them."""
    return [
        experiment
        for experiment in experiments
        if all(param_text(experiment, key) == wanted for key, wanted in where.items())
    ]


def varying(experiments: Sequence[Experiment]) -> list[str]:
    """The keys that have more than one value; lacking a key counts as a value."""
    return [
        key
        for key in param_names(experiments)
        if len({param_text(experiment, key) for experiment in experiments}) > 1
    ]


def of_other_data(keys: Iterable[str]) -> list[str]:
    """Those of `keys` that decide which samples the metric is computed on."""
    return [key for key in keys if key.split(".")[0] in DATA_KEYS]


def rank(experiments: Iterable[Experiment], metric: str) -> list[Experiment]:
    """The experiments that have the metric, the largest first; equal ones by name, then by commit."""
    having = [experiment for experiment in experiments if metric in experiment.metrics]
    return sorted(having, key=lambda one: (-one.metrics[metric], one.name, one.rev))


def interval(experiment: Experiment, metric: str) -> tuple[float, float] | None:
    """The interval that `evaluate` gives for `part.score` as `part.interval.score.low` and `.high`."""
    part, _, score = metric.partition(".")
    low = experiment.metrics.get(f"{part}.interval.{score}.low")
    high = experiment.metrics.get(f"{part}.interval.{score}.high")
    return None if low is None or high is None else (low, high)


def group(
    experiments: Iterable[Experiment], metric: str, keys: Sequence[str]
) -> dict[tuple[str, ...], list[float]]:
    """Values of `keys` as text -> the metric of the experiments that have them, the largest mean first."""
    scores: dict[tuple[str, ...], list[float]] = {}
    for experiment in rank(experiments, metric):
        values = tuple(param_text(experiment, key) for key in keys)
        scores.setdefault(values, []).append(experiment.metrics[metric])
    return dict(sorted(scores.items(), key=lambda one: (-statistics.fmean(one[1]), one[0])))


def correlate(experiments: Iterable[Experiment], metric: str) -> list[Correlation]:
    """Correlates each numeric hyperparameter with the metric, the strongest first.

    Left out are seeds, which measure nothing, constants, and whatever fewer than three experiments have as
    a number. One that spans a decade is tried on a logarithmic scale too, since rates are chosen by factors.
    """
    having = rank(experiments, metric)
    found = []
    for key in param_names(having):
        those = [one for one in having if is_number(one.params.get(key))]
        if key.split(".")[-1] == "seed" or len(those) < _LEAST_FOR_CORRELATION:
            continue
        numbers = [float(one.params[key]) for one in those]
        scores = [one.metrics[metric] for one in those]
        if min(numbers) == max(numbers) or min(scores) == max(scores):
            continue
        found.append(_pearson(key, numbers, scores))
        # On two values, any scale gives the same r.
        if spans_decade(numbers) and len(set(numbers)) > 2:
            found.append(_pearson(f"log10({key})", list(map(math.log10, numbers)), scores))
    return sorted(found, key=lambda one: (-abs(one.r), one.name))


def is_number(found: Any) -> TypeGuard[float]:
    """Whether a param is a number; true and false are none."""
    return isinstance(found, int | float) and not isinstance(found, bool)


def spans_decade(numbers: Sequence[float]) -> bool:
    """Whether all are positive and the largest is at least ten times the smallest."""
    low, high = min(numbers), max(numbers)
    # 1e-3 / 1e-4 is a little less or more than ten.
    return low > 0 and math.log10(high) - math.log10(low) >= 1 - 1e-9


def luck(count: int, noise: float) -> float:
    """How far the best of `count` figures is above their mean by chance alone.

    It is the expected maximum of as many independent normal variables (David and Nagaraja 2003,
    "Order Statistics"), as if all that was tried were equally good.

    Args:
        count: 1 or more.
        noise: standard deviation of the chance in one figure.
    """
    from scipy import stats

    largest = stats.order_statistic(stats.Normal(), r=count, n=count)
    return noise * float(largest.mean())


def _pearson(name: str, numbers: Sequence[float], scores: Sequence[float]) -> Correlation:
    from scipy.stats import pearsonr

    result = pearsonr(numbers, scores)
    return Correlation(name, float(result.statistic), float(result.pvalue), len(numbers))
