"""The command `pull-hub`: downloads a bundle from the Hugging Face Hub."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the repository, the folder and the option."""
    add = parser.add_argument
    add("repo", metavar="REPO", help="OWNER/NAME")
    add("out", type=Path, metavar="OUT", help="the folder to make")
    add("--revision", metavar="REV", help="a branch, a tag or a commit; main if not given")


def run(arguments: argparse.Namespace) -> None:
    """Downloads, and prints what is in the folder.

    Raises:
        UserError: what `hub.pull` refuses.
    """
    from sentifuse.deploy import hub

    commit = hub.pull(arguments.repo, arguments.out, arguments.revision)
    print(f"{arguments.out}: {arguments.repo} at {commit}, every checksum as it should be")
