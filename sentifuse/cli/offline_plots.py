"""The command `offline-plots`: lets `dvc plots` make pages that need no network."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(arguments: argparse.Namespace) -> None:
    """Installs the page in the repository here.

    Raises:
        UserError: no DVC repository, or one with a page of the user's own.
    """
    from sentifuse.experiments import offline_plots

    page = offline_plots.install(Path())
    print(f"`dvc plots` pages need no network now: made with {page}")
