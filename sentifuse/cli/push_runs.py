"""The command `push-runs`: uploads every run of a stage, so that other clones need not run it."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the option."""
    parser.add_argument("--remote", help="its name; the default remote if not given")


def run(arguments: argparse.Namespace) -> None:
    """Uploads, and prints how many runs the remote has.

    Raises:
        UserError: no such remote, or a failed upload.
    """
    from sentifuse.experiments import run_cache

    print(f"{run_cache.push(arguments.remote)} runs of a stage are in the remote")
