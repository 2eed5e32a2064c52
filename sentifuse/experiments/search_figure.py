"""A figure of a search: which params gave which score."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sentifuse.evaluation import plots
from sentifuse.experiments.statistics import is_number, spans_decade
from sentifuse.runtime.files import write_text

MOST = 12  # hyperparameters
_TICKS = 7  # per hyperparameter
_COLOURS = "viridis_r"  # the best is dark


def draw(
    columns: Mapping[str, Sequence[Any]],
    scores: Sequence[float],
    names: Sequence[str],
    metric: str,
    path: Path,
) -> None:
    """Draws one line per run over all hyperparameters (Inselberg 1985), or a scatter plot over a single one.

    `columns` are 1 to `MOST` keys -> the value of each of N runs: number, text, bool, None or list. The N
    `scores` are the better the larger; the best run's name is written. The file is a .png or .svg.
    """
    figure = Figure(figsize=(3 + 1.5 * len(columns), 4.8), layout="constrained")
    axes = figure.add_subplot()
    if len(columns) == 1:
        [(key, values)] = columns.items()
        _scatter(axes, values, scores)
        axes.set(xlabel=key, ylabel=metric)
    else:
        colours = _lines(axes, list(columns.values()), np.array(scores))
        axes.set_xticks(range(len(columns)), [key.replace(".", ".\n") for key in columns])
        figure.colorbar(colours, ax=axes, label=metric, pad=0, aspect=30)
    best = int(np.argmax(scores))  # the first of equal ones
    axes.set_title(f"best: {names[best]} ({scores[best]:.4f})", fontsize=10, fontweight="bold")
    if path.suffix.lower() == ".svg":
        write_text(path, plots.svg(figure))
    else:
        plots.save(figure, path)


def _lines(
    axes: Axes, columns: Sequence[Sequence[Any]], scores: NDArray[np.float64]
) -> ScalarMappable:
    """One vertical axis per hyperparameter; the lines end at their score on the right edge."""
    colours = ScalarMappable(cmap=_COLOURS)
    colours.set_clim(scores.min(), max(scores.max(), scores.min() + 1e-9))
    shares = np.asarray(colours.norm(scores))
    heights = [_heights(axes, at, values, shares) for at, values in enumerate(columns)]
    for run in np.lexsort((-np.arange(len(scores)), scores)):  # the best is drawn last, on top
        width = 3.5 if run == np.argmax(scores) else 1.2
        line = [*(height[run] for height in heights), shares[run]]
        axes.plot(line, color=colours.to_rgba(scores[run]), linewidth=width)
    axes.set(xlim=(-0.6, len(columns)), ylim=(0, 1), yticks=[])
    axes.spines[:].set_visible(False)
    return colours


def _heights(
    axes: Axes, at: int, values: Sequence[Any], shares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draws the axis, a piece per value at even distances; gives where each run crosses it.

    Runs of one value are spread over its piece by score, so that none hides another.
    """
    texts = [_label(value) for value in values]
    numbers = {text: value for text, value in zip(texts, values, strict=True) if is_number(value)}
    ordered = [*sorted(set(texts) - set(numbers)), *sorted(numbers, key=lambda text: numbers[text])]
    count = len(ordered)
    middles = (np.arange(count) + 0.5) / count
    half = 0.35 / count
    axes.vlines([at] * count, middles - half, middles + half, colors="0.4", linewidth=2)
    style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8, "zorder": 4}
    behind = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    for rank in {round(tick) for tick in np.linspace(0, count - 1, _TICKS)}:
        axes.text(at - 0.04, middles[rank], ordered[rank], bbox=behind, **style)
    crossed = middles[[ordered.index(text) for text in texts]]
    return np.asarray(crossed + 0.6 * (shares - 0.5) / count)


def _scatter(axes: Axes, values: Sequence[Any], scores: Sequence[float]) -> None:
    """Numbers by size, or by logarithm where they span a decade; anything else in order of appearance."""
    numeric = all(is_number(value) for value in values)
    places = values if numeric else [_label(value) for value in values]
    axes.scatter(places, scores, c=scores, cmap=_COLOURS)
    if numeric and spans_decade(values):
        axes.set_xscale("log")


def _label(value: Any) -> str:
    """A value as short text: `1e-05`, `concat`, `null`, `[256, 64]`."""
    if is_number(value):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 18 else f"{text[:17]}…"
