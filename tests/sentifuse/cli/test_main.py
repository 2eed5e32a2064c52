import subprocess
import sys

from tests.places import ROOT

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


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout


def test_the_help_lists_every_command_with_what_it_does() -> None:
    told = " ".join(python("-m", "sentifuse", "--help").split())
    for name, about in COMMANDS.items():
        assert f"{name} {about}" in told


def test_what_takes_long_to_import_is_left_to_the_command_that_needs_it() -> None:
    slow = {"dvc", "jinja2", "matplotlib", "pandas", "pydantic", "scipy", "torch", "transformers"}
    code = f"import sys, sentifuse.cli.main; print({slow} & set(sys.modules) or 'none')"
    assert python("-c", code) == "none\n"
