"""The short commands beside `dvc`: recipe, compare, offline-plots, push-runs and mend."""

import argparse
import os
from pathlib import Path
from typing import Any

from sentifuse.errors import UserError


def add_commands(commands: Any) -> None:
    """Declares them, with their options, to what `ArgumentParser.add_subparsers` returns."""
    added = commands.add_parser(
        "recipe", help="print a recipe as options: dvc exp run $(python -m sentifuse recipe FILE)"
    )
    added.add_argument("file", type=Path, help="a YAML file with some of the keys of params.yaml")
    added.set_defaults(call=_recipe)
    added = commands.add_parser(
        "compare", help="the paired difference between two experiments' ablation runs"
    )
    added.add_argument("first", help="an experiment, branch or commit, or `workspace`")
    added.add_argument("second", help="what to compare it with")
    added.add_argument("--variant", default="multimodal", help="which variant of both")
    added.set_defaults(call=_compare)
    added = commands.add_parser(
        "offline-plots", help="let `dvc plots` make pages that need no network"
    )
    added.set_defaults(call=_offline_plots)
    added = commands.add_parser(
        "push-runs", help="upload every run of a stage, so that other clones need not run it"
    )
    added.add_argument("--remote", help="its name; the default remote if not given")
    added.set_defaults(call=_push_runs)
    added = commands.add_parser(
        "mend", help="remove half-written locks of a killed DVC and damaged objects of its cache"
    )
    added.set_defaults(call=_mend)


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


def _offline_plots(_: argparse.Namespace) -> None:
    from sentifuse.experiments.offline_plots import install

    print(f"`dvc plots` pages need no network now: made with {install(Path())}")


def _push_runs(arguments: argparse.Namespace) -> None:
    from sentifuse.experiments import run_cache

    print(f"{run_cache.push(arguments.remote)} runs of a stage are in the remote")


def _mend(_: argparse.Namespace) -> None:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    from sentifuse.experiments.mend import mend

    try:
        with Repo() as repo:  # it knows where the cache is, which may be shared
            cache, dvc = repo.cache.local_cache_dir, os.path.relpath(repo.dvc_dir)
    except NotDvcRepoError as error:
        raise UserError(f"mend: {error}") from None
    removed = mend(Path(), Path(cache), Path(dvc))
    for path in removed:
        print(f"removed {path}")
    print("go on with `dvc repro`" if removed else "nothing to mend")
