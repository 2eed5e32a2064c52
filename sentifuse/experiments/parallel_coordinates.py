"""A figure of a search: each run a line over its hyperparameters (Inselberg 1985), coloured by its score."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from numpy.typing import NDArray

from sentifuse.experiments.search_axis import SearchAxis, place
from sentifuse.runtime.files import write_bytes

MOST = 12
_DPI = 150
_INK, _GREY, _RULE = "#1f2733", "#6b7482", "#c3c9d2"
# Light for the worst, dark for the best, so that the best lines stand out on white.
_COLOURS = LinearSegmentedColormap.from_list(
    "score", ["#e6dcb8", "#a9c9a4", "#4fa3a5", "#2b6a99", "#2d2a6e"]
)
_FAN = 0.045  # how far, in heights of an axis, runs of one value spread to either side
_WIDTH = 0.044  # of the colour bar, in steps between axes


def draw(
    columns: Mapping[str, Sequence[Any]],
    scores: Sequence[float],
    names: Sequence[str],
    metric: str,
    path: Path,
) -> None:
    """Draws one axis a hyperparameter, and the metric's, which is the colour scale, on the right.

    With a single hyperparameter it is a scatter plot of the metric over it.

    Args:
        columns: key -> the value of each of N runs: number, text, bool, None or list. 1 to `MOST` keys.
        scores: N figures, the larger the better.
        names: N names; the best run's is written beside its line.
        metric: name of the scores.
        path: of the file, .png or .svg; it is replaced atomically.
    """
    axes = {key: place(values) for key, values in columns.items()}
    if len(axes) == 1:
        figure = _scatter(*axes.popitem(), scores, names, metric)
    else:
        figure = _parallel(axes, scores, names, metric)
    kind = path.suffix[1:].lower()
    # Without version, date and random ids, so that the bytes depend on the numbers only.
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "sentifuse"}):
        figure.savefig(out, format=kind, dpi=_DPI, metadata=metadata, bbox_inches="tight")
    write_bytes(path, out.getvalue())


def _parallel(
    axes: Mapping[str, SearchAxis], scores: Sequence[float], names: Sequence[str], metric: str
) -> Figure:
    last = len(axes)
    # As wide as the longest title needs, in inches.
    step = max(1.45, 0.083 * max(len(key.rpartition(".")[2]) for key in axes))
    figure = Figure(figsize=(2.6 + step * last, 4.8), layout="constrained")
    plot = figure.add_subplot()
    plot.axis("off")
    plot.set_xlim(-0.45, last + 0.75)
    plot.set_ylim(-_FAN - 0.02, 1.24)
    metric_axis = place(list(scores), few=0)
    heights = np.array([*(_fanned(axis, scores) for axis in axes.values()), metric_axis.places])
    shares = _shares(scores)
    best = int(np.argmax(scores))  # the first of equal ones
    for run in sorted(range(len(scores)), key=lambda run: (scores[run], run == best)):
        is_best = run == best
        line = PathPatch(
            _curve(heights[:, run]),
            facecolor="none",
            edgecolor=_COLOURS(shares[run]),
            linewidth=2.6 if is_best else 1.5,
            alpha=1.0 if is_best else 0.8,
            capstyle="round",
        )
        plot.add_patch(line)
    for number, (key, axis) in enumerate(axes.items()):
        _draw_axis(plot, number, key, axis)
    _draw_scale(plot, last, metric, metric_axis)
    plot.text(
        last + 0.07, heights[-1, best], names[best], color=_COLOURS(1.0), fontsize=8.5,
        fontweight="bold", va="center",
    )  # fmt: skip
    return figure


def _draw_axis(plot: Axes, number: int, key: str, axis: SearchAxis) -> None:
    plot.plot([number, number], [-_FAN, 1 + _FAN], color=_RULE, linewidth=1.2, zorder=3)
    behind = {"boxstyle": "round,pad=0.12", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    for height, label in axis.ticks:
        plot.plot([number - 0.02, number], [height, height], color=_GREY, linewidth=1, zorder=4)
        plot.text(
            number - 0.05, height, label, ha="right", va="center", fontsize=8, color=_INK,
            zorder=5, bbox=behind,
        )  # fmt: skip
    note = " (log)" if axis.is_log else ""
    _write_title(plot, number, key, note)


def _draw_scale(plot: Axes, number: int, metric: str, axis: SearchAxis) -> None:
    low, high = min(axis.places), max(axis.places)
    plot.imshow(
        np.linspace(0, 1, 256)[:, None], cmap=_COLOURS, aspect="auto", origin="lower", zorder=3,
        extent=(number, number + _WIDTH, low, max(high, low + 1e-3)),
    )  # fmt: skip
    for height, label in axis.ticks:
        if abs(height - high) < 0.05:
            continue  # the best run's name stands there
        plot.text(number + 0.07, height, label, va="center", fontsize=8, color=_INK, zorder=5)
    _write_title(plot, number, metric, "")


def _write_title(plot: Axes, number: int, key: str, note: str) -> None:
    section, _, name = key.rpartition(".")
    plot.text(number, 1.095, name + note, ha="center", fontsize=9, color=_INK, fontweight="bold")
    plot.text(number, 1.165, section, ha="center", fontsize=8, color=_GREY)


def _scatter(
    key: str, axis: SearchAxis, scores: Sequence[float], names: Sequence[str], metric: str
) -> Figure:
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    plot = figure.add_subplot()
    places = _fanned(axis, scores) if axis.is_few else np.array(axis.places)
    colours = [_COLOURS(share) for share in _shares(scores)]
    plot.scatter(places, scores, c=colours, s=42, edgecolor="white", linewidth=0.8, zorder=3)
    if axis.is_few:
        for height, _ in axis.ticks:
            here = [
                score
                for at, score in zip(axis.places, scores, strict=True)
                if abs(at - height) < 1e-9
            ]
            if here:
                mean = float(np.mean(here))
                plot.plot([height - 0.05, height + 0.05], [mean, mean], color=_GREY, linewidth=1.5)
    best = int(np.argmax(scores))
    plot.annotate(
        names[best], (places[best], scores[best]), (0, 7), textcoords="offset points", ha="center",
        fontsize=8.5, fontweight="bold", color=_COLOURS(1.0),
    )  # fmt: skip
    plot.set_xlim(-0.1, 1.1)
    plot.margins(y=0.14)
    plot.set_xticks([at for at, _ in axis.ticks], [label for _, label in axis.ticks])
    plot.set_xlabel(key + (" (log)" if axis.is_log else ""), color=_INK)
    plot.set_ylabel(metric, color=_INK)
    plot.grid(axis="y", color=_RULE, linewidth=0.6)
    plot.set_axisbelow(True)
    plot.spines[["top", "right"]].set_visible(False)
    return figure


def _fanned(axis: SearchAxis, scores: Sequence[float]) -> NDArray[np.float64]:
    """Places with runs of one value spread a little by score, so that none hides another."""
    places = np.array(axis.places)
    if not axis.is_few:
        return places
    distinct = np.unique(places)
    gap = np.diff(distinct).min() if len(distinct) > 1 else 1.0
    for height in distinct:
        here = np.flatnonzero(np.array(axis.places) == height)
        ranked = here[np.argsort(np.array(scores)[here], kind="stable")]
        if len(here) > 1:
            places[ranked] += np.linspace(-1, 1, len(here)) * min(_FAN, 0.3 * gap)
    return places


def _curve(heights: NDArray[np.float64]) -> Curve:
    """A smooth line through the axes, level at each."""
    points, codes = [(0.0, heights[0])], [Curve.MOVETO]
    for number in range(1, len(heights)):
        before, after = heights[number - 1], heights[number]
        points += [(number - 0.55, before), (number - 0.45, after), (float(number), after)]
        codes += [Curve.CURVE4] * 3
    return Curve(points, codes)


def _shares(scores: Sequence[float]) -> NDArray[np.float64]:
    """Scores as shares of their range, 0 for the least."""
    found = np.array(scores, dtype=float)
    span = float(np.ptp(found))
    return (found - found.min()) / span if span else np.ones_like(found)
