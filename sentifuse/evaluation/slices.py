"""Where a model fails: its scores on slices of the test part, each against the rest of it.

A slice is all test samples of which one thing is true. Whoever looks at many slices finds a bad one by
chance. So each is answers against the rest, the p-values are corrected for their number, and none is scored
that has fewer than `LEAST` samples.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation.answers import Answers
from sentifuse.metrics import bootstrap, proportions, scores, significance

# Samples in a slice, and in the rest of the test part, that are scored.
LEAST = 20
COLUMNS = [
    "slice", "value", "samples", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low",
    "macro_f1_high", "minus_rest", "minus_rest_low", "minus_rest_high", "minus_rest_same_classes", "p_value",
    "p_holm",
]  # fmt: skip
Members = NDArray[np.bool_]


def table(
    described: pd.DataFrame, answers: Answers, interval: IntervalOptions, *, seed: int
) -> pd.DataFrame:
    """One row per slice, the one with the lowest accuracy first; those too small to be scored come last.

    Args:
        described: as of `describing.describe`: N rows; a column is what the slices are about, and each of its
            values but the empty one is a slice. A value that all samples have is none.
        answers: the same samples.
        interval: level of the intervals, resamples of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `COLUMNS`, all scores 0..1: `slice` and `value`, `samples`; `accuracy` with its interval (Wilson's);
        `macro_f1` with its interval (stratified bootstrap), unless the slice lacks a class; `minus_rest`, by
        how much its accuracy is above that of all other test samples, with its interval (Newcombe's);
        `minus_rest_same_classes`, the same if the rest had as large shares of the classes, unless it lacks
        one; `p_value` of no difference to the rest (Fisher's exact test), and `p_holm`, corrected for the
        number of comparisons. A slice with fewer than `LEAST` samples in it or in the rest has none of these.
    """
    members: dict[tuple[str, str], Members] = {
        (str(name), value): (values == value).to_numpy()
        for name, values in described.items()
        for value in sorted(set(values) - {""})
    }
    p_values = _p_values([own for own in members.values() if _is_large(own)], answers)
    rows = [
        {"slice": name, "value": value, "samples": int(own.sum())}
        | (_scores(own, answers, interval, seed) | p_values[_cut(own)] if _is_large(own) else {})
        for (name, value), own in members.items()
        if not own.all()
    ]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(
        ["accuracy", "slice", "value"], ignore_index=True, na_position="last"
    )


def summary(found: pd.DataFrame) -> dict[str, Any]:
    """How many slices of a `table` were `scored`, and some figures of the `worst`, if any was."""
    scored = found[found["accuracy"].notna()]
    out: dict[str, Any] = {"scored": len(scored)}
    if len(scored):
        shown = ["slice", "value", "samples", "accuracy", "minus_rest", "p_holm"]
        out["worst"] = scored[shown].head(1).to_dict("records")[0]
    return out


def told(summarised: Mapping[str, Any]) -> str:
    """The line that says what a `summary` found."""
    worst = summarised.get("worst")
    if worst is None:
        return f"slices: none has {LEAST} samples, and {LEAST} others beside it"
    return (
        f"worst of {summarised['scored']} slices: {worst['slice']}: {worst['value']}: accuracy "
        f"{worst['accuracy']:.3f} ({worst['samples']} samples), {100 * worst['minus_rest']:+.1f} points to "
        f"the rest, Holm p {worst['p_holm']:.2g}"
    )


def _is_large(own: Members) -> bool:
    return bool(LEAST <= own.sum() <= len(own) - LEAST)


def _scores(
    own: Members, answers: Answers, interval: IntervalOptions, seed: int
) -> dict[str, float]:
    right = answers.predicted == answers.targets
    one, other = _share(right[own]), _share(right[~own])
    accuracy = proportions.wilson(one, interval.level)
    minus_rest = proportions.difference(one, other, interval.level)
    out = {
        "accuracy": one[0] / one[1],
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "minus_rest": one[0] / one[1] - other[0] / other[1],
        "minus_rest_low": minus_rest.low,
        "minus_rest_high": minus_rest.high,
    }
    targets, predicted, classes = answers.targets[own], answers.predicted[own], len(answers.labels)
    rest = scores.confusion(answers.targets[~own], answers.predicted[~own], classes)
    if rest.sum(axis=1)[targets].all():
        alike = scores.per_class(rest)["recall"][targets].mean()
        out["minus_rest_same_classes"] = out["accuracy"] - float(alike)
    if len(np.unique(targets)) == classes:
        drawn = bootstrap.scores(targets, predicted[None], classes, interval, seed)["macro_f1"]
        around = bootstrap.interval(drawn[:, 0], interval.level)
        out["macro_f1"] = scores.headline(targets, predicted, classes)["macro_f1"]
        out |= {"macro_f1_low": around.low, "macro_f1_high": around.high}
    return out


def _p_values(large: list[Members], answers: Answers) -> dict[bytes, dict[str, float]]:
    """Cut -> `p_value` and `p_holm`."""
    right = answers.predicted == answers.targets
    raw = {_cut(own): proportions.p_value(_share(right[own]), _share(right[~own])) for own in large}
    holm = significance.holm_p_values(raw)
    return {cut: {"p_value": p, "p_holm": holm[cut]} for cut, p in raw.items()}


def _cut(own: Members) -> bytes:
    """The same for a slice and the rest: of two slices that divide the test part, one says it all."""
    flipped: Members = own ^ own[0]
    return flipped.tobytes()


def _share(right: Members) -> proportions.Share:
    return int(right.sum()), len(right)
