"""Figures as PNG files, the same bytes for the same numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DPI = 110
_BLUE, _GREY = "#3b6ea8", "#5a6270"


def confusion_matrix(counts: NDArray[np.int64], labels: Sequence[str], path: Path) -> None:
    """Draws a confusion matrix: counts as numbers, shares of the actual class as colour.

    Args:
        counts: (C, C), rows are the actual, columns the predicted classes.
        labels: C class names.
        path: of the PNG file.
    """
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(4.6, 4.0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{counts[row, column]}\n{share:.0%}"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(f"test part, {counts.sum()} samples")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _save(figure, path)


def ablation(scores: Mapping[str, Sequence[float]], metric: str, path: Path) -> None:
    """Draws a bar a variant at the mean of its runs, a whisker of one standard deviation, every run.

    Args:
        scores: variant -> the score of each run, 0..1.
        metric: name of the score, for the axis.
        path: of the PNG file.
    """
    figure, axes = _figure(6.0, 0.9 + 0.5 * max(len(scores), 1))
    for place, values in enumerate(scores.values()):
        mean, spread = np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0
        colour = _BLUE if place == 0 else _GREY
        axes.barh(place, mean, height=0.6, color=colour, alpha=0.45)
        axes.errorbar(mean, place, xerr=spread, color=colour, capsize=4, linewidth=1.5)
        axes.plot(values, [place] * len(values), "o", color=colour, markersize=4, alpha=0.8)
        axes.text(0.01, place, f"{mean:.3f}", va="center", ha="left", fontsize=9)
    axes.set_yticks(range(len(scores)), list(scores))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"{metric} on the test part: mean, ±1 standard deviation, every run")
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the program's version, so that the bytes depend on the numbers only.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
