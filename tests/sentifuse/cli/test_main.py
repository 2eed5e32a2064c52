import subprocess
import sys

from sentifuse.cli.main import COMMANDS
from tests.places import ROOT


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout


def test_the_help_lists_every_command_with_what_it_does() -> None:
    told = " ".join(python("-m", "sentifuse", "--help").split())
    for name, (_, about) in COMMANDS.items():
        assert f"{name} {about}" in told


def test_what_takes_long_to_import_is_left_to_the_command_that_needs_it() -> None:
    slow = {"dvc", "jinja2", "matplotlib", "pandas", "scipy", "torch", "transformers"}
    code = f"import sys, sentifuse.cli.main; print({slow} & set(sys.modules) or 'none')"
    assert python("-c", code) == "none\n"
