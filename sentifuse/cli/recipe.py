"""The command `recipe`: a file with some of the keys of `params.yaml` as options of `dvc exp run`."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the one argument."""
    parser.add_argument("file", type=Path, help="a YAML file with some of the keys of params.yaml")


def run(arguments: argparse.Namespace) -> None:
    """Prints the options on one line.

    Raises:
        UserError: a file that is no recipe.
    """
    from sentifuse.config.overrides import as_options

    print(" ".join(as_options(arguments.file)))
