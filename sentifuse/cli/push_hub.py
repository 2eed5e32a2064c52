"""The command `push-hub`: uploads a bundle to the Hugging Face Hub."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the repository and the options."""
    add = parser.add_argument
    add("repo", metavar="REPO", help="OWNER/NAME; made, and private, if there is none")
    folder = Path("models/bundle")
    add("--model", type=Path, default=folder, metavar="DIR", help="a bundle (default: %(default)s)")
    add("--revision", metavar="BRANCH", help="made if there is none; main if not given")
    add("--public", action="store_true", help="let everybody see a repository that is new")


def run(arguments: argparse.Namespace) -> None:
    """Uploads, and prints the address of the commit.

    Raises:
        UserError: what `hub.push` refuses.
    """
    from sentifuse.deploy import hub

    print(hub.push(arguments.model, arguments.repo, arguments.revision, arguments.public))
