"""The command line: `python -m sentifuse COMMAND`.

python -m sentifuse recipe recipes/course.yaml    # the -S options for `dvc exp run`
"""

import argparse
from pathlib import Path

from sentifuse.errors import run
from sentifuse.overrides import as_options


def main() -> None:
    """Parses the command line and calls the command."""
    parser = argparse.ArgumentParser(
        prog="python -m sentifuse", description="Helpers beside `dvc`."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recipe = commands.add_parser(
        "recipe", help="print a recipe as options: dvc exp run $(python -m sentifuse recipe FILE)"
    )
    recipe.add_argument("file", type=Path, help="a YAML file with some of the keys of params.yaml")
    arguments = parser.parse_args()
    print(" ".join(as_options(arguments.file)))


if __name__ == "__main__":
    run(main)
