"""The command line: `python -m sentifuse COMMAND`.

python -m sentifuse import mvsa MVSA_Single data/mvsa-single   # a published data set, for `data.root`
python -m sentifuse check data/mine               # what is wrong with a data set, before any run
python -m sentifuse recipe recipes/course.yaml    # the -S options for `dvc exp run`
python -m sentifuse compare EXP_A EXP_B ...       # paired difference over splits
python -m sentifuse search recipes/search-quick.yaml   # try many recipes on the cached features
python -m sentifuse analyze                       # rank all experiments, table and page
python -m sentifuse offline-plots                 # `dvc plots` pages that need no network
python -m sentifuse predict --image a.jpg --text "what a day"
python -m sentifuse export models/bundle models/export   # ONNX graphs, which need no torch
python -m sentifuse serve                         # a page to try the model
python -m sentifuse push-hub me/mood              # a bundle, to the Hugging Face Hub
python -m sentifuse pull-hub me/mood models/mood  # and from there
python -m sentifuse push-runs                     # the run-cache with its outputs, to a remote
python -m sentifuse store                         # what was encoded and is kept; `store prune`
python -m sentifuse mend                          # remove what a killed DVC stumbles over
"""

import argparse
import importlib
import sys

from sentifuse.runtime.process import run

# Name -> help. The module of a command is imported when it is called: an export predicts where nothing is
# installed that the others need.
COMMANDS = {
    "import": "make a data set of MVSA as it is published",
    "check": "list the bad samples of a data set",
    "recipe": "print a recipe as options: dvc exp run $(python -m sentifuse recipe FILE)",
    "compare": "the paired differences between experiments' ablation runs",
    "search": "try many recipes on the cached features, and write the best one",
    "analyze": "rank, group and draw all experiments",
    "predict": "predict a pair, or a CSV of pairs",
    "export": "write a bundle as ONNX graphs, which predict without torch",
    "serve": "a page to try a model",
    "offline-plots": "let `dvc plots` make pages that need no network",
    "push-hub": "upload a bundle to the Hugging Face Hub",
    "pull-hub": "download a bundle from the Hugging Face Hub",
    "push-runs": "upload every run of a stage, so that other clones need not run it",
    "store": "list the feature store, or make room in it",
    "mend": "remove half-written locks of a killed DVC and damaged objects of its cache",
}


def main() -> None:
    """Parses the command line and calls the command."""
    parser = argparse.ArgumentParser(
        prog="python -m sentifuse", description="Helpers beside `dvc`."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    called = sys.argv[1:2]
    for name, about in COMMANDS.items():
        options = commands.add_parser(name, help=about)
        if called == [name]:
            file = "import_data" if name == "import" else name.replace("-", "_")
            module = importlib.import_module(f"sentifuse.cli.{file}")
            module.add_options(options)
            options.set_defaults(call=module.run)
    arguments = parser.parse_args()
    arguments.call(arguments)


def command() -> None:
    """What the console script `sentifuse` calls: the same as `python -m sentifuse`."""
    run(main)
