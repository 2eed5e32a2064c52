"""What a benchmark measured: our figure beside the reference's; a table and a chart of many such."""

import importlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

_BLUE, _ORANGE, _GREY = "#2f6db3", "#c8663a", "#5a6270"


@dataclass(frozen=True)
class Measurement:
    """One line of the table: what the project reaches beside a plain reference, in one run.

    Attributes:
        part: the topic, a key of `benchmarks.__main__.TOPICS`.
        what: what is measured.
        reference: what it is compared with, in a few words.
        ours: the absolute figure.
        theirs: the reference's, in the same unit.
        unit: of both.
        ratio: the figure that has the target.
        target: None where the figure is only reported.
        better: whether `ratio` must be at least or at most `target`.
    """

    part: str
    what: str
    reference: str
    ours: float
    theirs: float
    unit: str
    ratio: float
    target: float | None
    better: Literal["more", "less"] = "more"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.better == "more" else self.ratio <= self.target

    @property
    def verdict(self) -> str:
        """`met`, or by how much not."""
        if self.met is None or self.target is None:
            return "told only"
        return "met" if self.met else f"missed by {abs(self.ratio / self.target - 1):.0%}"


def of(module: str, work: Path, short: bool) -> list[Measurement]:
    """The measurements of a topic's module, by its dotted name."""
    found: list[Measurement] = importlib.import_module(module).measure(work, short=short)
    return found


def side_by_side(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm: int = 1
) -> dict[str, list[float]]:
    """Runs all contestants in turn, round after round, so that a busy spell of the machine meets all.

    Args:
        contestants: name -> what to time.
        rounds: timed calls of each.
        warm: untimed calls of each before.

    Returns:
        Name -> the seconds of each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(warm + rounds):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if number >= warm:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def times_as_fast(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of the reference's seconds over ours."""
    return statistics.median(their / our for our, their in zip(ours, theirs, strict=True))


def table(measurements: Sequence[Measurement]) -> str:
    """A Markdown table, the ratios first."""
    lines = [
        "| what | ratio | target | | ours | reference |",
        "| --- | ---: | ---: | --- | ---: | --- |",
    ]
    for each in measurements:
        sign = "≥" if each.better == "more" else "≤"
        target = "" if each.target is None else f"{sign} {_number(each.target)}"
        lines.append(
            f"| {each.part}: {each.what} | **{_number(each.ratio)}** | {target} | {each.verdict} "
            f"| {_told(each.ours, each.unit)} "
            f"| {_told(each.theirs, each.unit)}: {each.reference} |"
        )
    return "\n".join(lines) + "\n"


def figure(measurements: Sequence[Measurement]) -> Figure:
    """One bar per measurement of speed, on a logarithmic axis, with a tick at its target."""
    # What has no unit, as a cosine, is no speed.
    shown = [each for each in measurements if each.better == "more" and each.unit]
    drawn = Figure(figsize=(9.4, 0.9 + 0.48 * max(len(shown), 1)), layout="constrained")
    axes = drawn.add_subplot()
    for place, each in enumerate(shown):
        colour = {True: _BLUE, False: _ORANGE, None: _GREY}[each.met]
        axes.barh(place, each.ratio - 1, left=1, height=0.6, color=colour, alpha=0.75)
        if each.target is not None:
            axes.plot([each.target] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
        axes.annotate(
            _number(each.ratio),
            (max(each.ratio, each.target or 0), place),
            textcoords="offset points",
            xytext=(5, 0),
            va="center",
            fontsize=9,
        )
    axes.set_xscale("log")
    most = max([each.ratio for each in shown], default=1.0)
    axes.set_xlim(min([0.8, *(0.9 * each.ratio for each in shown)]), 1.8 * max(most, 1.0))
    axes.axvline(1, color=_GREY, linewidth=1)
    names = [f"{each.part}: {each.what}\nbeside {each.reference}" for each in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlabel("times the reference (log scale); black: the target")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return drawn


def _told(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".strip()


def _number(value: float) -> str:
    """Three digits of it, without an exponent; of a cosine, those that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.6f}" if 0.99 <= value < 1 else f"{value:.3g}"
