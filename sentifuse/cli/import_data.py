"""`python -m sentifuse import mvsa FOLDER OUT`: a published data set in the form that `data.root` takes."""

import argparse
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentifuse.data.mvsa import Imported


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument("name", choices=["mvsa"], help="which data set")
    parser.add_argument(
        "folder", type=Path, help="where it was unpacked, as its authors publish it"
    )
    parser.add_argument("out", type=Path, help="a new folder, for `data.root`")


def run(arguments: argparse.Namespace) -> None:
    """Prints the rows of each class, those left out by reason, and what to run next.

    Raises:
        UserError: no such data set there, a bad label file, or an output folder with files in it.
    """
    from sentifuse.data import mvsa

    print(_told(mvsa.import_to(arguments.folder, arguments.out), arguments.out))


def _told(found: "Imported", out: Path) -> str:
    from sentifuse.data.mvsa import LABELS, LEFT_OUT

    which = "MVSA-Single" if found.annotators == 1 else "MVSA-Multiple"
    classes = Counter(sample.label for sample in found.samples)
    reasons = Counter(row.reason for row in found.left_out)
    lines = [
        f"{which}: {len(found.samples) + len(found.left_out)} rows, {len(found.samples)} of them imported",
        ", ".join(f"{label} {classes[label]}" for label in LABELS),
        *(f"left out: {reason} ({count})" for reason, count in sorted(reasons.items())),
    ]
    if found.left_out:
        lines.append(f"{out / LEFT_OUT} lists them")
    root = shlex.quote(str(out))
    return "\n".join(
        [
            *lines,
            "next:",
            f"  python -m sentifuse check {root}",
            f"  dvc exp run -S data.root={root}",
        ]
    )
