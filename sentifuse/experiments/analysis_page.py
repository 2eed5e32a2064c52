"""One HTML page for many experiments, which needs no network: a table and two plots that filter each other.

Here is computed what stands where; `analysis_page.js` draws it and answers the mouse and the keys. Names and
values are data: the script writes them as text, and the page's own policy lets no other script run.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sentifuse.experiments import reporting, statistics
from sentifuse.experiments.read import Experiment
from sentifuse.experiments.run_reports import Report
from sentifuse.runtime import templates

TEMPLATE = "analysis_page.html.j2"
_SCRIPT = Path(__file__).with_name("analysis_page.js")
_TICKS = 6  # of an axis of numbers
_GAP = 0.06  # the least distance of two ticks, as a share of the axis
_LONGEST = 18  # characters of a tick


@dataclass(frozen=True)
class Column:
    """A param or a metric of N experiments: a column of the table, an axis of the plots.

    Attributes:
        name: its dotted key.
        texts: N cells of the table; empty where the experiment lacks it.
        places: N places on the axis, from 0 to 1, or None where the experiment lacks it.
        ticks: places on the axis, upwards, and what is written there.
        numeric: whether the places are those of numbers, and not of names.
        shown: whether the page shows it before one asks for it.
        intervals: N texts for the cells, or none.
    """

    name: str
    texts: Sequence[str]
    places: Sequence[float | None]
    ticks: Sequence[tuple[float, str]]
    numeric: bool
    shown: bool
    intervals: Sequence[str] = ()


def render(
    ranked: Sequence[Experiment],
    columns: Sequence[Column],
    reports: Sequence[Report],
    repeats: Mapping[str, Sequence[str]],
    notes: Sequence[str],
) -> str:
    """The page, in HTML.

    Args:
        ranked: N experiments, the best first, without repeats.
        columns: of `columns`; the first is the metric that ranks.
        reports: N reports.
        repeats: name of an experiment -> names of those with the same params and metrics.
        notes: sentences above the plots.
    """
    runs = [
        {
            "name": one.name,
            "repeats": list(repeats.get(one.name, ())),
            "commit": one.rev if one.rev == "workspace" else one.rev[:7],
            "made": one.created[:16].replace("T", " "),
            "report": asdict(report),
        }
        for one, report in zip(ranked, reports, strict=True)
    ]
    script = _SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return templates.load(Path(__file__).parent / TEMPLATE, html=True).render(
        data={"runs": runs, "columns": [asdict(column) for column in columns]},
        metric=columns[0].name,
        notes=notes,
        script=script,
        digest=digest,
    )


def columns(
    ranked: Sequence[Experiment], metric: str, params: Sequence[str], test: bool
) -> list[Column]:
    """The metric that ranks, then the params, then the other metrics that differ.

    `params` are shown, or all that differ if there are none. Metrics of the test part are there only with
    `test`. Ends of intervals and counts of samples are no figures to choose by, and left out.
    """
    shown = params or statistics.varying(ranked)
    others = [
        key
        for key in statistics.metric_names(ranked)
        if key != metric
        and (test or not statistics.is_test(key))
        and not {"interval", "samples", "support"} & set(key.split("."))
        and len({one.metrics.get(key) for one in ranked}) > 1
    ]
    hidden = [key for key in statistics.varying(ranked) if key not in shown]
    return [
        _metric(ranked, metric, shown=True),
        *(_param(ranked, key, shown=True) for key in shown),
        *(_param(ranked, key, shown=False) for key in hidden),
        *(_metric(ranked, key, shown=False) for key in others),
    ]


def _metric(ranked: Sequence[Experiment], key: str, shown: bool) -> Column:
    values = [one.metrics.get(key) for one in ranked]
    texts = ["" if value is None else reporting.figure(value) for value in values]
    ends = [statistics.interval(one, key) for one in ranked]
    intervals = [" to ".join(map(reporting.figure, end)) if end else "" for end in ends]
    return replace(_of_numbers(key, values, texts, shown), intervals=intervals)


def _param(ranked: Sequence[Experiment], key: str, shown: bool) -> Column:
    values = [one.params.get(key) for one in ranked]
    texts = [
        _short(value) if isinstance(value, float) else statistics.param_text(one, key)
        for one, value in zip(ranked, values, strict=True)
    ]
    numbers = [value for value in values if statistics.is_number(value) and math.isfinite(value)]
    if len(numbers) == len(values):
        return _of_numbers(key, numbers, texts, shown)
    # Names in alphabetical order, then numbers by size, at even distances.
    sizes = {
        text: value
        for text, value in zip(texts, values, strict=True)
        if statistics.is_number(value)
    }
    names = sorted(set(texts), key=lambda text: (text in sizes, sizes.get(text, 0), text))
    at = {name: (rank + 0.5) / len(names) for rank, name in enumerate(names)}
    ticks = _spaced((place, name or "-") for name, place in at.items())
    return Column(key, texts, [at[text] for text in texts], ticks, numeric=False, shown=shown)


def _of_numbers(
    key: str, values: Sequence[float | None], texts: Sequence[str], shown: bool
) -> Column:
    """On a logarithmic scale if they span a decade."""
    numbers = sorted({value for value in values if value is not None})
    log = statistics.spans_decade(numbers)

    def place(value: float) -> float:
        low, high, number = (
            math.log10(each) if log else each for each in (numbers[0], numbers[-1], value)
        )
        return (number - low) / (high - low) if high > low else 0.5

    marked = numbers if len(numbers) <= _TICKS else _round_numbers(numbers[0], numbers[-1], log)
    inside = [
        value for value in marked if -1e-9 <= place(value) <= 1 + 1e-9
    ]  # sums of 0.1 are not exact
    ticks = _spaced((place(value), _short(value)) for value in inside)
    places = [None if value is None else place(value) for value in values]
    return Column(key, texts, places, ticks, numeric=True, shown=shown)


def _round_numbers(low: float, high: float, log: bool) -> list[float]:
    """From `low` or a little below to `high` or a little above."""
    from matplotlib.ticker import MaxNLocator

    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [float(f"{digit}e{power}") for power in powers for digit in (1, 3)]
    return [float(tick) for tick in MaxNLocator(_TICKS).tick_values(low, high)]


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _spaced(ticks: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Those that leave room for each other, with short texts."""
    kept: list[tuple[float, str]] = []
    for place, text in ticks:
        if not kept or place - kept[-1][0] >= _GAP:
            kept.append((place, text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"))
    return kept
