"""The command `analyze`: its options, what it prints and what it writes."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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


@dataclass(frozen=True)
class Options:
    """What the command line says; see `add_options`."""

    metric: str
    top: int
    where: Sequence[str]
    params: Sequence[str]
    group_by: Sequence[str]
    allow_test: bool
    out: Path
    latex: Path | None
    plot: Path | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options, with the names of the fields of `Options`."""
    add = parser.add_argument
    add("--metric", default=METRIC, help="what to rank by (default: %(default)s)")
    add("--top", type=int, default=10, metavar="K", help="rows of the table (default: 10)")
    add("--where", nargs="+", default=[], metavar="KEY=VALUE", help="only runs with these params")
    add("--params", nargs="+", default=[], metavar="KEY", help="show these, not all that differ")
    add("--group-by", nargs="+", default=[], metavar="KEY", help="also the mean over like runs")
    add("--allow-test", action="store_true", help="rank by a metric of the test part")
    add("--out", type=Path, default=OUT, help="folder of experiments.csv (default: %(default)s)")
    add("--latex", type=Path, metavar="FILE", help="the table, or the groups, in LaTeX")
    add("--plot", type=Path, metavar="FILE", help="a figure, .png or .svg")


def run(arguments: argparse.Namespace) -> None:
    """Calls `analyze` with what the parser found."""
    analyze(Options(**{field.name: getattr(arguments, field.name) for field in fields(Options)}))


def analyze(options: Options) -> None:
    """Prints the best experiments, groups and correlations; writes the CSV, the table, the figure.

    Raises:
        UserError: no experiments, an unknown name, a metric of the test part without leave.
    """
    if options.top < 1:
        raise UserError(f"--top {options.top}: expected 1 or more")
    if options.plot and options.plot.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"--plot {options.plot}: expected a name that ends in .png or .svg")
    where = _pairs(options.where)
    written = _outputs(options)
    collected = experiments.read()
    if not collected.experiments:
        skipped = report.skipped_note(collected.skipped)
        raise UserError(f"no experiments with metrics{skipped}: {_HOW_TO_RUN}")
    chosen = _choose(collected.experiments, where, options)
    _check_test(options)
    distinct = [experiment for experiment in chosen if not experiment.same_as]
    ranked = statistics.rank(distinct, options.metric)
    drawn = _drawn_params(ranked, options) if options.plot else []
    table = report.top_table(ranked, options.metric, options.top, options.params)
    groups = None
    if options.group_by:
        groups = report.group_table(ranked, options.metric, options.group_by)

    _warn_of_other_data(ranked)
    said = [
        report.summary(chosen, ranked, collected.skipped, options.metric),
        table.text(),
        report.on_choosing(len(ranked), options.metric),
    ]
    if groups:
        said.append(groups.text())
    said.append(report.correlations(ranked, options.metric))
    files.write_text(written["--out"], report.as_csv(chosen, options.metric))
    if options.latex:
        files.write_text(options.latex, (groups or table).latex())
    if options.plot:
        _draw(ranked, options.metric, drawn, options.plot)
    said.append("\n".join(f"wrote {path}" for path in written.values()))
    # In one go, so that `| head` breaks no pipe.
    sys.stdout.write("\n\n".join(said) + "\n")


def _outputs(options: Options) -> dict[str, Path]:
    """Option -> the file that it names, after a check that no two are one and none is an input."""
    named = {
        "--out": options.out / "experiments.csv",
        "--latex": options.latex,
        "--plot": options.plot,
    }
    written = {option: path for option, path in named.items() if path}
    inputs = [Path(name) for name in ("params.yaml", "dvc.yaml", "dvc.lock")]
    for option, path in written.items():
        files.check_output(option, path, [*inputs, *Path("metrics").glob("*")])
    if len({path.resolve() for path in written.values()}) < len(written):
        raise UserError(f"{' '.join(written)}: two of these name one file: choose other names")
    return written


def _choose(
    found: Sequence[Experiment], where: Mapping[str, str], options: Options
) -> list[Experiment]:
    known = statistics.param_names(found)
    statistics.check_known("param", [*where, *options.params, *options.group_by], known)
    chosen = statistics.select(found, where)
    if not chosen:
        raise UserError(f"--where {' '.join(options.where)}: no experiment has these params")
    stale = report.stale_note(chosen)
    note = f" ({stale})" if stale else ""
    statistics.check_known("metric", [options.metric], statistics.metric_names(chosen), note)
    return chosen


def _pairs(where: Sequence[str]) -> dict[str, str]:
    for pair in where:
        if "=" not in pair:
            raise UserError(f"--where {pair}: expected KEY=VALUE, such as fusion=gated")
    return dict(pair.split("=", 1) for pair in where)


def _check_test(options: Options) -> None:
    if not statistics.is_test(options.metric):
        return
    if not options.allow_test:
        raise UserError(
            f"--metric {options.metric}: it is of the test part, which is not for choosing: rank by "
            f"{METRIC}, or add --allow-test"
        )
    _warn(
        f"{options.metric} is of the test part: the best of many figures is high by luck too, so once it "
        "has chosen an experiment it is no longer an estimate for new data"
    )


def _warn_of_other_data(ranked: Sequence[Experiment]) -> None:
    if keys := statistics.of_other_data(statistics.varying(ranked)):
        _warn(
            f"the experiments differ in {', '.join(keys)}: figures of different samples, not to be ranked "
            f"against each other; --where {keys[0]}=VALUE keeps those of one"
        )


def _drawn_params(ranked: Sequence[Experiment], options: Options) -> Sequence[str]:
    from sentifuse.experiments.search_figure import MOST

    keys = options.params or statistics.varying(ranked)
    if not 1 <= len(keys) <= MOST:
        raise UserError(
            f"--plot {options.plot}: {len(keys)} params differ: expected 1 to {MOST}; choose with --params"
        )
    return keys


def _draw(ranked: Sequence[Experiment], metric: str, keys: Sequence[str], path: Path) -> None:
    from sentifuse.experiments.search_figure import draw

    # A text for what an experiment lacks, since None is a value.
    columns = {key: [one.params.get(key, "-") for one in ranked] for key in keys}
    names = [one.name for one in ranked]
    draw(columns, [one.metrics[metric] for one in ranked], names, metric, path)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)
