"""The command `analyze`: its options, what it prints and what it writes."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sentifuse.errors import UserError
from sentifuse.experiments import read as experiments
from sentifuse.experiments import reporting as report
from sentifuse.experiments import statistics
from sentifuse.experiments.read import Experiment
from sentifuse.runtime import files

METRIC = "val.macro_f1"
OUT = Path("data/analysis")
_HOW_TO_RUN = "run some, such as `dvc exp run -n gated -S fusion=gated`"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("--metric", default=METRIC, help="what to rank by (default: %(default)s)")
    add("--top", type=int, default=10, metavar="K", help="rows of the table (default: 10)")
    add("--where", nargs="+", default=[], metavar="KEY=VALUE", help="only runs with these params")
    add("--params", nargs="+", default=[], metavar="KEY", help="show these, not all that differ")
    add("--group-by", nargs="+", default=[], metavar="KEY", help="also the mean over like runs")
    add("--allow-test", action="store_true", help="rank by a metric of the test part")
    add("--out", type=Path, default=OUT, help="folder of experiments.csv (default: %(default)s)")
    add("--latex", type=Path, metavar="FILE", help="the table, or the groups, in LaTeX")
    add("--html", type=Path, metavar="FILE", help="a page of plots that filter each other")


def run(arguments: argparse.Namespace) -> None:
    """Prints the best experiments, groups and correlations; writes the CSV, the table, the page."""
    if arguments.top < 1:
        raise UserError(f"--top {arguments.top}: expected 1 or more")
    where = _pairs(arguments.where)
    written = _outputs(arguments)
    found, skipped = experiments.read()
    if not found:
        note = report.skipped_note(skipped)
        raise UserError(f"no experiments with metrics{note}: {_HOW_TO_RUN}")
    metric = arguments.metric
    chosen = _choose(found, where, arguments)
    ranked = statistics.rank([one for one in chosen if not one.same_as], metric)
    warnings = _warnings(ranked, arguments)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    summary = report.summary(chosen, ranked, skipped, metric)
    on_choosing = report.on_choosing(len(ranked), metric)
    table = report.top_table(ranked, metric, arguments.top, arguments.params)
    groups = report.group_table(ranked, metric, arguments.group_by) if arguments.group_by else None
    files.write_text(written["--out"], report.as_csv(chosen, metric))
    if arguments.latex:
        files.write_text(arguments.latex, (groups or table).latex())
    if arguments.html:
        notes = [summary, on_choosing, *warnings]
        files.write_text(arguments.html, _page(chosen, ranked, notes, arguments))
    said = [
        summary,
        table.text(),
        on_choosing,
        *([groups.text()] if groups else []),
        report.correlations(ranked, metric),
        "\n".join(f"wrote {path}" for path in written.values()),
    ]
    # In one go, so that `| head` breaks no pipe.
    sys.stdout.write("\n\n".join(said) + "\n")


def _pairs(where: Sequence[str]) -> dict[str, str]:
    for pair in where:
        if "=" not in pair:
            raise UserError(f"--where {pair}: expected KEY=VALUE, such as fusion=gated")
    return dict(pair.split("=", 1) for pair in where)


def _outputs(arguments: argparse.Namespace) -> dict[str, Path]:
    """Option -> the file that it names, after a check that no two are one and none is an input."""
    out = arguments.out / "experiments.csv"
    named = {"--out": out, "--latex": arguments.latex, "--html": arguments.html}
    written = {option: path for option, path in named.items() if path}
    inputs = [Path(name) for name in ("params.yaml", "dvc.yaml", "dvc.lock")]
    for option, path in written.items():
        files.check_output(option, path, [*inputs, *Path("metrics").glob("*")])
    if len({path.resolve() for path in written.values()}) < len(written):
        raise UserError(f"{' '.join(written)}: two of these name one file: choose other names")
    return written


def _choose(
    found: Sequence[Experiment], where: Mapping[str, str], arguments: argparse.Namespace
) -> list[Experiment]:
    """The experiments that `--where` keeps, after a check of all the names that the options give."""
    known = statistics.param_names(found)
    statistics.check_known("param", [*where, *arguments.params, *arguments.group_by], known)
    chosen = statistics.select(found, where)
    if not chosen:
        raise UserError(f"--where {' '.join(arguments.where)}: no experiment has these params")
    stale = report.stale_note(chosen)
    note = f" ({stale})" if stale else ""
    statistics.check_known("metric", [arguments.metric], statistics.metric_names(chosen), note)
    return chosen


def _warnings(ranked: Sequence[Experiment], arguments: argparse.Namespace) -> list[str]:
    """What the figures are not good for; a metric of the test part is an error unless it is allowed."""
    metric, said = arguments.metric, []
    if statistics.is_test(metric):
        if not arguments.allow_test:
            raise UserError(
                f"--metric {metric}: it is of the test part, which is not for choosing: rank by "
                f"{METRIC}, or add --allow-test"
            )
        said.append(
            f"{metric} is of the test part: the best of many figures is high by luck too, so once it "
            "has chosen an experiment it is no longer an estimate for new data"
        )
    if keys := statistics.of_other_data(statistics.varying(ranked)):
        said.append(
            f"the experiments differ in {', '.join(keys)}: figures of different samples, not to be "
            f"ranked against each other; --where {keys[0]}=VALUE keeps those of one"
        )
    return said


def _page(
    chosen: Sequence[Experiment],
    ranked: Sequence[Experiment],
    notes: Sequence[str],
    arguments: argparse.Namespace,
) -> str:
    from sentifuse.experiments import analysis_page, run_reports

    columns = analysis_page.columns(
        ranked, arguments.metric, arguments.params, arguments.allow_test
    )
    reports = run_reports.locate(ranked, arguments.html, arguments.out / "reports")
    return analysis_page.render(ranked, columns, reports, _repeats(chosen), notes)


def _repeats(chosen: Sequence[Experiment]) -> dict[str, list[str]]:
    """The name of an experiment -> the names of those that repeat it."""
    found: dict[str, list[str]] = {}
    for one in chosen:
        found.setdefault(one.same_as, []).append(one.name)
    return found
