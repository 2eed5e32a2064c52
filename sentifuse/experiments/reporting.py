"""What `analyze` says: tables and sentences about experiments, as texts."""

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from sentifuse.experiments import statistics
from sentifuse.experiments.read import Experiment
from sentifuse.experiments.tables import Table


def summary(
    chosen: Sequence[Experiment],
    ranked: Sequence[Experiment],
    skipped: Mapping[str, int],
    metric: str,
) -> str:
    """How many of the `chosen` experiments count (`ranked`), and which do not and why."""
    lines = [f"experiments with {metric}: {len(ranked)}"]
    if repeats := [f"{one.name} = {one.same_as}" for one in chosen if one.same_as]:
        lines.append(f"not counted again, same params and metrics: {', '.join(repeats)}")
    if lacking := [one.name for one in chosen if metric not in one.metrics]:
        lines.append(f"without {metric}: {len(lacking)} ({', '.join(lacking)})")
    if stale := stale_note(chosen):
        lines.append(stale)
    if skipped:
        lines.append(f"left out{skipped_note(skipped)}")
    return "\n".join(lines)


def stale_note(chosen: Sequence[Experiment]) -> str:
    """Which files of metrics do not belong to the params beside them, or nothing."""
    counts = Counter(path for one in chosen for path in one.stale)
    files = ", ".join(f"{path} of {count}" for path, count in sorted(counts.items()))
    return f"left out, not run again with these params: {files}" if files else ""


def skipped_note(skipped: Mapping[str, int]) -> str:
    """` (2 failed, 1 queued)`, or nothing."""
    return f" ({', '.join(f'{count} {why}' for why, count in skipped.items())})" if skipped else ""


def top_table(ranked: Sequence[Experiment], metric: str, top: int, params: Sequence[str]) -> Table:
    """The first `top` experiments with their `params`, or else with all that differ among them."""
    shown = ranked[:top]
    keys = params or statistics.varying(shown)
    columns = {
        "rank": [str(number) for number in range(1, len(shown) + 1)],
        "experiment": [one.name for one in shown],
        metric: [figure(one.metrics[metric]) for one in shown],
    }
    ends = [statistics.interval(one, metric) for one in shown]
    if any(ends):
        columns["interval"] = [" to ".join(map(figure, end)) if end else "" for end in ends]
    for key in keys:
        columns[key] = [statistics.param_text(one, key) for one in shown]
    numbers = {
        key for key in keys if all(statistics.is_number(one.params.get(key)) for one in shown)
    }
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return Table(list(columns), rows, frozenset({"rank", metric} | numbers))


def group_table(ranked: Sequence[Experiment], metric: str, keys: Sequence[str]) -> Table:
    """Mean, sample standard deviation, best and count of each group; one alone has no deviation."""
    figures = ("mean", "sd", "best", "count")
    rows = []
    for values, found in statistics.group(ranked, metric, keys).items():
        sd = figure(stdev(found)) if len(found) > 1 else ""
        rows.append([*values, figure(fmean(found)), sd, figure(max(found)), str(len(found))])
    return Table([*keys, *figures], rows, frozenset(figures))


def on_choosing(count: int, metric: str, noise: float | None = None) -> str:
    """What the best figure of a table is worth.

    Args:
        count: how many figures there are.
        metric: its name.
        noise: standard deviation of the chance in one figure, if it is known.
    """
    if count == 1:
        return "One experiment: nothing to compare it with."
    said = f"The best of {count} figures is high by luck too"
    if statistics.is_test(metric):
        return f"{said}, and no estimate for new data."
    if noise is not None:
        points = 100 * statistics.luck(count, noise)
        said += f" (by {points:.1f} points if all recipes are equally good)"
    return f"{said}: as an estimate, report the test part of the one that you choose."


def correlations(ranked: Sequence[Experiment], metric: str) -> str:
    """The correlations as a table, and what they are not."""
    found = statistics.correlate(ranked, metric)
    if not found:
        return "No numeric hyperparameter varies over three experiments or more: no correlations."
    names = ("hyperparameter", "r", "p", "n")
    rows = [(one.name, f"{one.r:+.2f}", _p(one.p), str(one.n)) for one in found]
    return (
        f"{Table(names, rows, frozenset(names[1:])).text()}\n\n"
        f"Pearson correlation with {metric} over whatever was run, while other params varied too: not an "
        "effect.\np is two-sided, for one test alone: of twenty such, one is below .05 by chance."
    )


def as_csv(chosen: Sequence[Experiment], metric: str) -> str:
    """One row per experiment, by rank, with the params that differ and all metrics.

    Params stand as text or JSON, and are empty where an experiment lacks them. A metric named like a
    param follows `metrics:`.
    """
    lacking = [one for one in chosen if metric not in one.metrics]
    ordered = statistics.rank(chosen, metric) + sorted(lacking, key=lambda one: (one.name, one.rev))
    params, metrics = statistics.varying(chosen), statistics.metric_names(chosen)
    about = ("name", "rev", "baseline", "created", "same_as")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"metrics:{key}" if key in {*about, *params} else key for key in metrics]
    writer.writerow([*about, *params, *names])
    for one in ordered:
        writer.writerow(
            [getattr(one, field) for field in about]
            + [statistics.param_text(one, key) for key in params]
            + [one.metrics.get(key, "") for key in metrics]
        )
    return text.getvalue()


def _p(p: float) -> str:
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def figure(number: float) -> str:
    """A metric as text: four digits, or a whole number as it is."""
    return str(number) if isinstance(number, int) else f"{number:.4f}"
