"""Figures of a search: the best score so far, which keys mattered, and the score over each key."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sentifuse.experiments.search.dimensions import Dimension, Range

_BLUE, _ORANGE, _GREY = "#2f6db3", "#c8663a", "#9aa3af"
_LABEL = "macro-F1 on validation"
_COLUMNS = 3  # panels beside each other


def history(scores: Mapping[int, float], stopped: Sequence[int], default: float) -> Figure:
    """Every score, and the best so far.

    Args:
        scores: number of the trial -> its score, of those that were trained to the end.
        stopped: numbers of those that were not.
        default: the score of the default.
    """
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    numbers, values = list(scores), list(scores.values())
    axes.plot(numbers, values, "o", color=_BLUE, alpha=0.6, markersize=4, label="trial")
    best = np.maximum.accumulate(values)
    axes.step(numbers, best, where="post", color=_ORANGE, linewidth=1.8, label="best so far")
    axes.axhline(default, color="black", linewidth=1, linestyle="--", label="default")
    if stopped:
        at = axes.get_xaxis_transform()
        axes.plot(
            stopped, [0.02] * len(stopped), "|", color=_GREY, transform=at, label="stopped early"
        )
    axes.set(xlabel="trial", ylabel=_LABEL)
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def importance(shares: Mapping[str, float]) -> Figure:
    """One bar per key; the largest at the top."""
    figure = Figure(figsize=(7.0, 0.9 + 0.34 * len(shares)), layout="constrained")
    axes = figure.add_subplot()
    ordered = sorted(shares.items(), key=lambda one: one[1])
    bars = axes.barh([key for key, _ in ordered], [share for _, share in ordered], color=_BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set(
        xlabel="importance (PED-ANOVA), of 1 in all", xlim=(0, 1.1 * max(*shares.values(), 1e-9))
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def slices(
    dimensions: Mapping[str, Dimension], drawn: Sequence[Mapping[str, Any]], scores: Sequence[float]
) -> Figure:
    """One panel per key, with one dot per trial that was trained to its end; the best one is marked.

    Args:
        dimensions: the keys.
        drawn: of each trial, what was drawn for each key.
        scores: of each trial.
    """
    columns = min(_COLUMNS, len(dimensions))
    rows = -(-len(dimensions) // columns)
    size = (0.6 + 2.9 * columns, 0.3 + 2.3 * rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (key, dimension) in zip(grid.flat, dimensions.items(), strict=False):
        _slice(axes, dimension, [each[key] for each in drawn], scores)
        axes.set_xlabel(key, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid.flat[len(dimensions) :]:
        axes.set_visible(False)
    figure.supylabel(_LABEL, fontsize=10)
    return figure


def _slice(axes: Axes, dimension: Dimension, drawn: Sequence[Any], scores: Sequence[float]) -> None:
    best = int(np.argmax(scores))
    if isinstance(dimension, Range):
        places = np.array(drawn, dtype=float)
        if dimension.log:
            axes.set_xscale("log")
            axes.set_xlim(dimension.low / 1.2, dimension.high * 1.2)
            if dimension.high >= 10 * dimension.low:
                axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        names = list(dimension.values)
        spread = np.random.default_rng(0).uniform(-0.18, 0.18, len(drawn))
        places = np.array([names.index(each) for each in drawn]) + spread
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    axes.plot(places, scores, "o", color=_BLUE, alpha=0.5, markersize=4)
    axes.plot(places[best], scores[best], "o", color=_ORANGE, markersize=6)
