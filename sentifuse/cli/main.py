"""The command line, `python -m sentifuse COMMAND`. Each module imports what takes long when it is called."""

import argparse

from sentifuse.cli import analyze, check, experiments, predict, serve, store
from sentifuse.runtime.process import run

# Name -> module and help; `experiments` declares further ones.
_COMMANDS = {
    "check": (check, "list the bad samples of a data set"),
    "analyze": (analyze, "rank, group and draw all experiments"),
    "predict": (predict, "predict a pair, or a CSV of pairs"),
    "serve": (serve, "a page to try a model"),
    "store": (store, "list the feature store, or make room in it"),
}


def main() -> None:
    """Parses the command line and calls the command."""
    parser = argparse.ArgumentParser(
        prog="python -m sentifuse", description="Helpers beside `dvc`."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, about) in _COMMANDS.items():
        options = commands.add_parser(name, help=about)
        module.add_options(options)
        options.set_defaults(call=module.run)
    experiments.add_commands(commands)
    arguments = parser.parse_args()
    arguments.call(arguments)


def command() -> None:
    """What the console script `sentifuse` calls: the same as `python -m sentifuse`."""
    run(main)
