"""Figures that are drawn from numbers: the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sentifuse.runtime.files import write_bytes

_DPI = 110
_BLUE, _ORANGE, _GREY, _PALE = "#2f6db3", "#c8663a", "#5a6270", "#d5dbe3"

# A value, and the lower and the upper end of its interval.
Interval = tuple[float, float, float]


def confusion_matrix(counts: NDArray[np.int64], labels: Sequence[str]) -> Figure:
    """Counts (C, C) as numbers, shares of the actual class as colour.

    Rows are the actual, columns the predicted classes.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(4.6, 4.0)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{share:.0%}"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="actual", title=f"test part, {counts.sum()} samples")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def ablation(scores: Mapping[str, Sequence[float]], metric: str) -> Figure:
    """One bar per variant at the mean of its runs, with one standard deviation and a dot per run.

    `scores` are variant -> the `metric` of each run, 0..1.
    """
    figure = _figure(6.0, 0.9 + 0.5 * max(len(scores), 1))
    axes = figure.add_subplot()
    for place, values in enumerate(scores.values()):
        mean, spread = np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0
        colour = _BLUE if place == 0 else _GREY
        axes.barh(place, mean, height=0.6, color=colour, alpha=0.45)
        axes.errorbar(mean, place, xerr=spread, color=colour, capsize=4, linewidth=1.5)
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.8)
        axes.text(0.01, place, f"{mean:.3f}", va="center", ha="left", fontsize=9)
    xlabel = f"{metric} on the test part: mean, ±1 standard deviation, every run"
    axes.set(xlim=(0, 1), xlabel=xlabel)
    return _rows(figure, [axes], list(scores))


def intervals(rows: Mapping[str, Mapping[str, Interval]], zero: bool) -> Figure:
    """Values with their intervals: one line per row name, one panel per score.

    `zero` says that these are differences, which are read against a line at 0.
    """
    scores = list(next(iter(rows.values()), {}))
    figure = _figure(7.6, 0.9 + 0.42 * max(len(rows), 1))
    panels = list(np.atleast_1d(figure.subplots(1, max(len(scores), 1), sharey=True)))
    for axes, score in zip(panels, scores, strict=False):
        for place, row in enumerate(rows.values()):
            value, low, high = row[score]
            clear = low > 0 or high < 0 if zero else place == 0
            colour = _BLUE if clear else _GREY
            axes.plot([low, high], [place, place], color=colour, linewidth=2.2)
            axes.plot(value, place, "o", color=colour, markersize=6)
            label = f"{value:+.1f}" if zero else f"{value:.3f}"
            axes.annotate(label, (value, place), (0, 6), textcoords="offset points",
                          ha="center", fontsize=8, color=colour)  # fmt: skip
        if zero:
            axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(score, fontsize=10)
        axes.margins(x=0.1, y=0.22)
        axes.grid(axis="x", color=_PALE, linewidth=0.6)
    return _rows(figure, panels, list(rows))


def learning_curves(stages: Mapping[str, pd.DataFrame], kept: Sequence[int]) -> Figure:
    """Loss and macro-F1 by epoch, one column per stage.

    `kept` is the epoch of each stage whose weights were kept; 0 for none of them.
    """
    figure = _figure(7.6, 4.2)
    grid = figure.subplots(2, len(stages), squeeze=False, sharex="col")
    for (losses, scores), (name, table), epoch in zip(grid.T, stages.items(), kept, strict=True):
        for column, colour, label in (
            ("train_loss", _GREY, "train"),
            ("val_loss", _BLUE, "validation"),
        ):
            if column in table:
                losses.plot(table["epoch"], table[column], ".-", color=colour, label=label)
        if "val_macro_f1" in table:
            scores.plot(table["epoch"], table["val_macro_f1"], ".-", color=_BLUE)
            best = table[table["epoch"] == epoch]
            scores.plot(best["epoch"], best["val_macro_f1"], "o", color=_ORANGE)
        losses.set_title(name, fontsize=10)
        if losses.lines:
            losses.legend(frameon=False, fontsize=8)
        scores.set_xlabel("epoch")
        scores.xaxis.get_major_locator().set_params(integer=True)
    grid[0, 0].set_ylabel("loss")
    grid[1, 0].set_ylabel("macro-F1, validation")
    for axes in grid.flat:
        _open(axes)
        axes.grid(color=_PALE, linewidth=0.6)
    return figure


def reliability(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Accuracy against confidence, before and after the temperature.

    The table is that of `calibration.reliability`, with a column `temperature`, whose values are the keys
    of `titles`.
    """
    figure = _figure(7.6, 3.8)
    panels = figure.subplots(1, len(titles), sharey=True)
    for axes, (when, title) in zip(panels, titles.items(), strict=True):
        own = table[table["temperature"] == when]
        width = own["high"] - own["low"]
        axes.bar(own["low"], own["accuracy"], width, align="edge", color=_BLUE, alpha=0.35,
                 edgecolor="white")  # fmt: skip
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
        # A larger dot stands for more samples.
        sizes = 12 + 220 * own["samples"] / max(own["samples"].sum(), 1)
        axes.scatter(own["confidence"], own["accuracy"], s=sizes, color=_BLUE, zorder=3)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", aspect="equal")
        axes.set_title(title, fontsize=10)
        _open(axes)
    panels[0].set_ylabel("accuracy")
    return figure


def risk_coverage(table: pd.DataFrame) -> Figure:
    """The error rate of the most confident share of samples (`calibration.risk_coverage`)."""
    figure = _figure(5.0, 3.6)
    axes = figure.add_subplot()
    axes.plot(table["coverage"], table["risk"], color=_BLUE)
    if len(table):
        axes.axhline(table["risk"].iloc[-1], color=_GREY, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.set_xlabel("coverage: share of samples kept, most confident first")
    axes.set_ylabel("risk: error rate among them")
    _open(axes)
    axes.grid(color=_PALE, linewidth=0.6)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG, atomically."""
    out = io.BytesIO()
    # The version of matplotlib is left out, so that the bytes depend on the numbers only.
    figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    write_bytes(path, out.getvalue())


def svg(figure: Figure) -> str:
    """The figure as an SVG document with real text, for a page."""
    out = io.StringIO()
    # Without a salt the ids are random, and a date is written unless it is turned off.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "sentifuse"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _open(axes: Axes) -> None:
    """Removes the frame at the top and on the right."""
    axes.spines[["top", "right"]].set_visible(False)


def _rows(figure: Figure, panels: Sequence[Axes], names: Sequence[str]) -> Figure:
    """Names the rows of `panels`, the first at the top."""
    panels[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    panels[0].invert_yaxis()
    for axes in panels:
        _open(axes)
        axes.tick_params(axis="y", length=0)
    return figure
