"""The command line: `python -m sentifuse COMMAND`.

python -m sentifuse recipe recipes/course.yaml    # the -S options for `dvc exp run`
python -m sentifuse compare EXP_A EXP_B           # paired difference over splits
python -m sentifuse offline-plots                 # `dvc plots` pages that need no network
"""

import argparse
from pathlib import Path

from sentifuse.errors import run


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
    compare = commands.add_parser(
        "compare", help="the paired difference between two experiments' ablation runs"
    )
    compare.add_argument("first", help="an experiment, branch or commit, or `workspace`")
    compare.add_argument("second", help="what to compare it with")
    compare.add_argument("--variant", default="multimodal", help="which variant of both")
    commands.add_parser("offline-plots", help="let `dvc plots` make pages that need no network")
    arguments = parser.parse_args()
    if arguments.command == "recipe":
        _recipe(arguments.file)
    elif arguments.command == "compare":
        _compare(arguments.first, arguments.second, arguments.variant)
    else:
        _offline_plots()


def _recipe(file: Path) -> None:
    from sentifuse.overrides import as_options

    print(" ".join(as_options(file)))


def _compare(first: str, second: str, variant: str) -> None:
    from sentifuse import comparison

    found = comparison.compare(comparison.read_runs(first), comparison.read_runs(second), variant)
    for score, points in found.items():
        print(
            f"{score}: {points.mean:+.2f} points ({points.low:+.2f} to {points.high:+.2f}, "
            f"SE {points.standard_error:.2f}, p {points.p_value:.3f}), "
            f"better on {points.wins} of {points.pairs} splits"
        )


def _offline_plots() -> None:
    from sentifuse import offline_plots

    page = offline_plots.install(Path())
    print(f"`dvc plots` pages need no network now: made with {page}")


if __name__ == "__main__":
    run(main)
