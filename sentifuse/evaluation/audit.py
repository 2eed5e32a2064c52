"""The label audit: which labels are probably wrong, how many, and whether the samples' twins say so, too.

Twins are the near-identical samples of a group (`duplicates.find`). The model that doubts a label has not
seen them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.config.recipe import IntervalOptions
from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, ViewChoice
from sentifuse.metrics import bootstrap, confident_learning
from sentifuse.metrics.scores import Floats
from sentifuse.training import out_of_fold

NO_LABELS = "there are no labelled rows"


@dataclass(frozen=True)
class Scale:
    """How labels are audited.

    Attributes:
        folds: of the cross-validation.
        views: which views of an image are averaged.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the folds and of the bootstrap.
    """

    folds: int
    views: ViewChoice
    interval: IntervalOptions
    seed: int


def audit(
    data: Dataset, labels: Sequence[str], groups: Mapping[str, str], scale: Scale
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The `table` and the `summary` of the labels of `data`, by out-of-fold probabilities.

    Without labelled rows, or with fewer groups of a label than folds, the table is empty and the summary has
    a `note` only.
    """
    nothing = pd.DataFrame(columns=["guid", "label", "suggested", "twins"])
    if not len(data):
        return nothing, {"note": NO_LABELS}
    try:
        folds = out_of_fold.fold_of(data, labels, groups, count=scale.folds, seed=scale.seed)
    except UserError as error:
        return nothing, {"note": f"audit.folds: {error}"}
    found = out_of_fold.probabilities(
        data, folds, len(labels), scale.views, data.features.arrays, scale.seed
    )
    rows = table(data, labels, groups, found)
    return rows, summary(rows, labels, scale.interval, scale.seed)


def table(
    data: Dataset, labels: Sequence[str], groups: Mapping[str, str], probabilities: Floats
) -> pd.DataFrame:
    """One row per sample: those whose label is probably wrong, then the others, the lowest margin first.

    Args:
        data: N labelled samples.
        labels: C class names.
        groups: guid -> the name of its group; a guid that it lacks stands alone.
        probabilities: (N, C), out of fold.

    Returns:
        `guid`; `label`; `suggested`, another label, or empty where the label is not doubted; `margin`
        (`confident_learning.margins`); `p_<label>` for each class; `group`; and `twins`, the labels of the
        other samples of its group, such as `negative, positive x2`.
    """
    targets = data.targets.numpy()
    best = confident_learning.suggested(probabilities, targets)
    doubted = best != targets
    own = [labels[target] for target in targets]
    named = [groups.get(guid, guid) for guid in data.guids]
    rows = pd.DataFrame(
        {
            "guid": list(data.guids),
            "label": own,
            "suggested": np.where(doubted, np.asarray(labels, dtype=object)[best], ""),
            "margin": confident_learning.margins(probabilities, targets),
            **{f"p_{label}": probabilities[:, place] for place, label in enumerate(labels)},
            "group": named,
            "twins": _twins(named, own),
        }
    )
    order = np.lexsort([rows["margin"], ~doubted])  # stable: by doubt, then by margin
    return rows.iloc[order].reset_index(drop=True)


def summary(
    rows: pd.DataFrame, labels: Sequence[str], interval: IntervalOptions, seed: int
) -> dict[str, Any]:
    """What a `table` says of all labels.

    Every share is 0..1 and has the keys `share`, `low` and `high`, or is None if there is nothing to count.
    The intervals are of a bootstrap over groups. The model is not trained again for it, so they leave out
    what another model would change.

    Returns:
        `samples`; `accuracy` of the out-of-fold model; `doubted`, the number of labels that are; `wrong`, the
        estimated share of wrong labels; `noise`, class -> label -> the chance that a sample of the class
        is given the label; and under `twins` three shares with the number of `samples`: how many labels
        are doubted of the samples whose twins all have another label (`contradicted`), and of those whose
        twins all have the same (`confirmed`); and how often the audit suggests a twin's label where it
        doubts a contradicted one (`same_suggestion`).
    """
    number = {label: place for place, label in enumerate(labels)}
    targets = np.array([number[label] for label in rows["label"]], dtype=np.int64)
    probabilities = rows[[f"p_{label}" for label in labels]].to_numpy()
    questions = _questions(rows)

    def measure(weights: NDArray[np.int64]) -> Floats:
        noise = confident_learning.estimate(probabilities, targets, weights)
        with np.errstate(invalid="ignore"):  # no sample to ask gives NaN
            shares = [weights @ yes / (weights @ asked) for asked, yes in questions.values()]
        return np.array([noise.wrong, *noise.matrix.ravel(), *shares])

    drawn = bootstrap.resample_groups(list(rows["group"]), resamples=interval.resamples, seed=seed)
    plain = measure(np.ones(len(rows), dtype=np.int64))
    figures = _figures(plain, np.array([measure(each) for each in drawn]), interval.level)
    return {
        "samples": len(rows),
        "accuracy": float((probabilities.argmax(axis=1) == targets).mean()),
        "doubted": int((rows["suggested"] != "").sum()),
        "wrong": next(figures),
        "noise": {true: {given: next(figures) for given in labels} for true in labels},
        "twins": {
            name: {"samples": int(asked.sum()), **(figure or {})}
            for (name, (asked, _)), figure in zip(questions.items(), figures, strict=True)
        },
    }


def told(found: Mapping[str, Any]) -> str:
    """What a `summary` found, in two lines at most."""
    if "note" in found:
        return f"no audit: {found['note']}"
    wrong, twins = found["wrong"], found["twins"]
    line = (
        f"{found['doubted']} of {found['samples']} labels are doubted; estimated share of wrong labels "
        f"{wrong['share']:.3f} ({wrong['low']:.3f} to {wrong['high']:.3f})"
    )
    shares = [
        f"{twins[name]['share']:.3f} of {twins[name]['samples']} {name}"
        for name in ("contradicted", "confirmed")
        if "share" in twins[name]
    ]
    return f"{line}\ndoubted: {', '.join(shares)} by their twins" if shares else line


def _twins(groups: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels of the other samples of each one's group, in words."""
    of_group: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        of_group[group][label] += 1
    out = []
    for group, label in zip(groups, labels, strict=True):
        others = of_group[group] - Counter([label])
        out.append(
            ", ".join(f"{name} x{n}" if n > 1 else name for name, n in sorted(others.items()))
        )
    return out


def _questions(rows: pd.DataFrame) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Question -> which rows it is asked of (N,), and for which of these the answer is yes (N,)."""
    doubted = rows["suggested"] != ""
    size = rows.groupby("group")["label"].transform("size")
    same = rows.groupby(["group", "label"])["label"].transform("size")
    contradicted, confirmed = (size > 1) & (same == 1), (size > 1) & (same == size)
    there = set(zip(rows["group"], rows["label"], strict=True))
    of_twin = [pair in there for pair in zip(rows["group"], rows["suggested"], strict=True)]
    found = {
        "contradicted": (contradicted, doubted),
        "confirmed": (confirmed, doubted),
        "same_suggestion": (contradicted & doubted, pd.Series(of_twin)),
    }
    return {
        name: (asked.to_numpy(), (asked & yes).to_numpy()) for name, (asked, yes) in found.items()
    }


def _figures(plain: Floats, drawn: Floats, level: float) -> Iterator[dict[str, float] | None]:
    """Each of the figures `plain` (K,) with the interval that the resamples `drawn` (B, K) give."""
    for value, values in zip(plain, drawn.T, strict=True):
        if np.isnan(value):
            yield None
        else:
            ends = bootstrap.interval(values[~np.isnan(values)], level)
            yield {"share": float(value), **asdict(ends)}
