"""The command `export`: a bundle as graphs that need no torch."""

import argparse
from pathlib import Path

from sentifuse.cli.predict import places
from sentifuse.runtime import numerics


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle, such as models/bundle")
    add("out", type=Path, metavar="OUT", help="folder of the export; an export there is replaced")
    add("--format", choices=("onnx",), default="onnx", help="default: %(default)s")
    add("--int8", action="store_true", help="encoders in 8 bits: smaller and faster")
    add(
        "--samples",
        type=Path,
        metavar="CSV",
        help="pairs to compare on, as of `predict --csv`, with the labels in `tag` "
        "(default: the validation part of the project in this folder, or without --int8 pairs that are made)",
    )
    add(
        "--backbone",
        action="append",
        default=[],
        metavar="[KEY=]NAME",
        help="where the encoders are, as of `predict`",
    )


def run(arguments: argparse.Namespace) -> None:
    """Writes the export, if it says what the bundle says."""
    numerics.hold_as_trained(arguments.bundle)
    from sentifuse.deploy.exporting import write

    measured = write.export(
        arguments.bundle,
        arguments.out,
        int8=arguments.int8,
        csv=arguments.samples,
        places=places(arguments.backbone),
    )
    print(f"{arguments.out}: {measured.told()}")
