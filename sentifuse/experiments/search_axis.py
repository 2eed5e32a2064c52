"""Where the values of a hyperparameter stand on an axis, and what is written there."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

from sentifuse.experiments.statistics import is_number, spans_decade

FEW = 7
_NEAREST = 0.055  # two labels nearer than this would touch


@dataclass(frozen=True)
class SearchAxis:
    """One axis, 0 at its lower end and 1 at its upper.

    Attributes:
        places: of each of N values.
        ticks: place and label of each tick, upwards.
        is_log: whether the numbers stand by their logarithm.
        is_few: whether there are so few values that each has a tick, and many runs may share one.
    """

    places: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    is_log: bool
    is_few: bool


def place(values: Sequence[Any], few: int = FEW) -> SearchAxis:
    """Places numbers by size, by logarithm if they go up by factors; anything else evenly, in order.

    One kind of other value among numbers, such as None, stands below them.

    Args:
        values: N values, each a number, text, bool, None or list.
        few: up to so many different numbers have a tick each; more get round ones.
    """
    numbers = sorted({float(value) for value in values if is_number(value)})
    others = sorted({label(value) for value in values if not is_number(value)})
    if len(numbers) < 2 or len(others) > 1:
        return _categories(values)
    is_log = _is_evener_by_factor(numbers)
    is_few = len(numbers) <= few
    low, high = numbers[0], numbers[-1]
    marks = numbers if is_few else _round_numbers(low, high, is_log)
    if not is_log:
        low, high = min(low, marks[0]), max(high, marks[-1])
    floor = 0.16 if others else 0.0

    def at(number: float) -> float:
        scale = math.log10 if is_log else float
        share = (scale(number) - scale(low)) / (scale(high) - scale(low))
        return floor + (1 - floor) * share

    ticks = [(0.0, others[0])] if others else []
    for mark in marks:
        if not ticks or at(mark) - ticks[-1][0] >= _NEAREST:
            ticks.append((at(mark), label(mark)))
    places = tuple(at(value) if is_number(value) else 0.0 for value in values)
    return SearchAxis(places, tuple(ticks), is_log, is_few)


def label(value: Any) -> str:
    """A value as short text: `1e-4`, `concat`, `null`, `256, 64`."""
    if is_number(value):
        mantissa, _, exponent = f"{value:.4g}".partition("e")
        if 0 < abs(value) < 1e-2 and not exponent:
            mantissa, _, exponent = f"{value:.3e}".partition("e")
            mantissa = mantissa.rstrip("0").rstrip(".")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    if isinstance(value, list):
        return ", ".join(map(label, value)) or "[]"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 18 else f"{text[:17]}…"


def _categories(values: Sequence[Any]) -> SearchAxis:
    def by_number_then_text(value: Any) -> tuple[bool, float, str]:
        return (not is_number(value), value if is_number(value) else 0.0, json.dumps(value))

    distinct = {json.dumps(value): value for value in sorted(values, key=by_number_then_text)}
    step = 1 / max(len(distinct) - 1, 1)
    at = {text: number * step for number, text in enumerate(distinct)}
    ticks = tuple((at[text], label(value)) for text, value in distinct.items())
    return SearchAxis(tuple(at[json.dumps(value)] for value in values), ticks, False, True)


def _is_evener_by_factor(numbers: Sequence[float]) -> bool:
    """Whether the median is nearer the middle on a logarithmic scale, as with rates, not shares."""
    if not spans_decade(numbers):
        return False
    low, middle, high = numbers[0], statistics.median(numbers), numbers[-1]
    by_step = (middle - low) / (high - low)
    by_factor = math.log(middle / low) / math.log(high / low)
    return abs(by_factor - 0.5) < abs(by_step - 0.5)


def _round_numbers(low: float, high: float, is_log: bool) -> list[float]:
    if not is_log:
        return [float(mark) for mark in MaxNLocator(nbins=5).tick_values(low, high)]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [10.0**exponent for exponent in exponents]
    within = [mark for mark in decades if low <= mark <= high]
    return within if len(within) > 1 else [low, high]
