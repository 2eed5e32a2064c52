"""The command line: `python -m sentifuse COMMAND`.

python -m sentifuse check data/mine               # what is wrong with a data set, before any run
python -m sentifuse recipe recipes/course.yaml    # the -S options for `dvc exp run`
python -m sentifuse compare EXP_A EXP_B           # paired difference over splits
python -m sentifuse analyze                       # rank all experiments, table and figure
python -m sentifuse offline-plots                 # `dvc plots` pages that need no network
python -m sentifuse predict --image a.jpg --text "what a day"
python -m sentifuse serve                         # a page to try the model
python -m sentifuse push-runs                     # the run-cache with its outputs, to a remote
python -m sentifuse store                         # what was encoded and is kept; `store prune`
python -m sentifuse mend                          # remove what a killed DVC stumbles over
"""

import argparse
from pathlib import Path

from sentifuse.cli import analyze as analyze_command
from sentifuse.cli import check as check_command
from sentifuse.cli import predict as predict_command
from sentifuse.cli import serve as serve_command
from sentifuse.cli import store as store_command
from sentifuse.errors import UserError
from sentifuse.runtime.process import run


def main() -> None:
    """Parses the command line and calls the command: each names its function as `call`."""
    parser = argparse.ArgumentParser(
        prog="python -m sentifuse", description="Helpers beside `dvc`."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="list the bad samples of a data set")
    check_command.add_options(check)
    check.set_defaults(call=check_command.run)
    recipe = commands.add_parser(
        "recipe", help="print a recipe as options: dvc exp run $(python -m sentifuse recipe FILE)"
    )
    recipe.add_argument("file", type=Path, help="a YAML file with some of the keys of params.yaml")
    recipe.set_defaults(call=_recipe)
    compare = commands.add_parser(
        "compare", help="the paired difference between two experiments' ablation runs"
    )
    compare.add_argument("first", help="an experiment, branch or commit, or `workspace`")
    compare.add_argument("second", help="what to compare it with")
    compare.add_argument("--variant", default="multimodal", help="which variant of both")
    compare.set_defaults(call=_compare)
    analyze = commands.add_parser("analyze", help="rank, group and draw all experiments")
    analyze_command.add_options(analyze)
    analyze.set_defaults(call=analyze_command.run)
    predict = commands.add_parser("predict", help="predict a pair, or a CSV of pairs")
    predict_command.add_options(predict)
    predict.set_defaults(call=predict_command.run)
    serve = commands.add_parser("serve", help="a page to try a model")
    serve_command.add_options(serve)
    serve.set_defaults(call=serve_command.run)
    offline = commands.add_parser(
        "offline-plots", help="let `dvc plots` make pages that need no network"
    )
    offline.set_defaults(call=_offline_plots)
    push_runs = commands.add_parser(
        "push-runs", help="upload every run of a stage, so that other clones need not run it"
    )
    push_runs.add_argument("--remote", help="its name; the default remote if not given")
    push_runs.set_defaults(call=_push_runs)
    store = commands.add_parser("store", help="list the feature store, or make room in it")
    store_command.add_options(store)
    store.set_defaults(call=store_command.run)
    mend = commands.add_parser(
        "mend", help="remove half-written locks of a killed DVC and damaged objects of its cache"
    )
    mend.set_defaults(call=_mend)
    arguments = parser.parse_args()
    arguments.call(arguments)


def _recipe(arguments: argparse.Namespace) -> None:
    from sentifuse.config.overrides import as_options

    print(" ".join(as_options(arguments.file)))


def _compare(arguments: argparse.Namespace) -> None:
    from sentifuse.experiments import comparison

    first, second = (comparison.read_runs(rev) for rev in (arguments.first, arguments.second))
    for score, points in comparison.compare(first, second, arguments.variant).items():
        print(
            f"{score}: {points.mean:+.2f} points ({points.low:+.2f} to {points.high:+.2f}, "
            f"SE {points.standard_error:.2f}, p {points.p_value:.3f}), "
            f"better on {points.wins} of {points.pairs} splits"
        )


def _offline_plots(arguments: argparse.Namespace) -> None:
    from sentifuse.experiments import offline_plots

    page = offline_plots.install(Path())
    print(f"`dvc plots` pages need no network now: made with {page}")


def _push_runs(arguments: argparse.Namespace) -> None:
    from sentifuse.experiments import run_cache

    print(f"{run_cache.push(arguments.remote)} runs of a stage are in the remote")


def _mend(arguments: argparse.Namespace) -> None:
    import os
    import subprocess
    import sys

    from dvc.repo import Repo

    from sentifuse.experiments.mend import mend

    # DVC knows where its cache is: it may be shared.
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    told = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if told.returncode:
        raise UserError(f"dvc cache dir: {told.stderr.strip().splitlines()[-1]}")
    dvc = Path(os.path.relpath(Repo.find_dvc_dir()))
    removed = mend(Path(), Path(told.stdout.strip()), dvc)
    for path in removed:
        print(f"removed {path}")
    print("go on with `dvc repro`" if removed else "nothing to mend")


def command() -> None:
    """What the console script `sentifuse` calls: the same as `python -m sentifuse`."""
    run(main)
