"""The command `compare`: the paired difference between two experiments' ablation runs."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("first", help="an experiment, branch or commit, or `workspace`")
    parser.add_argument("second", help="what to compare it with")
    parser.add_argument("--variant", default="multimodal", help="which variant of both")


def run(arguments: argparse.Namespace) -> None:
    """Prints one line per score.

    Raises:
        UserError: a revision without runs, or runs that cannot be compared.
    """
    from sentifuse.experiments import comparison

    first, second = (comparison.read_runs(rev) for rev in (arguments.first, arguments.second))
    for score, points in comparison.compare(first, second, arguments.variant).items():
        print(
            f"{score}: {points.mean:+.2f} points ({points.low:+.2f} to {points.high:+.2f}, "
            f"SE {points.standard_error:.2f}, p {points.p_value:.3f}), "
            f"better on {points.wins} of {points.pairs} splits"
        )
