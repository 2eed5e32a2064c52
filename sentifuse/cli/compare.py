"""The command `compare`: the paired differences between the ablation runs of one experiment and of others."""

import argparse


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("first", help="an experiment, branch or commit, or `workspace`")
    parser.add_argument("others", nargs="+", metavar="other", help="what to compare it with")
    parser.add_argument("--variant", default="multimodal", help="which variant of all")


def run(arguments: argparse.Namespace) -> None:
    """Prints one line per score and pair: the first experiment minus one of the others.

    Raises:
        UserError: a revision without runs, one that is named twice, or runs that cannot be compared.
    """
    from sentifuse.experiments import comparison

    first, others = arguments.first, arguments.others
    runs = comparison.read_runs([first, *others])
    found = comparison.compare(runs, arguments.variant)
    for score, differences in found.items():
        for other, points in differences.items():
            p = f"p {points.p_value:.3f}"
            if len(others) > 1:
                p += f", Holm p {points.p_holm:.3f}"
            print(
                f"{score}, {first} - {other}: {points.mean:+.2f} points ({points.low:+.2f} to "
                f"{points.high:+.2f}, SE {points.standard_error:.2f}, {p}), "
                f"better on {points.wins} of {points.pairs} splits"
            )
    if len(others) > 1:
        print(f"Holm p: corrected for {len(others)} comparisons; intervals are not")
