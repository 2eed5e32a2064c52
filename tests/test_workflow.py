"""What runs for others: `.github/workflows/ci.yml` and `.devcontainer/devcontainer.json`."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

from sentifuse.cli import serve
from tests.places import ROOT

FILE = ROOT / ".github" / "workflows" / "ci.yml"
TEXT = FILE.read_text(encoding="utf-8")
JOBS: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
LINES = [line.strip() for step in STEPS for line in step.get("run", "").splitlines()]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def passes(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_has_the_form_that_github_expects() -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("check-jsonschema is not installed (requirements-dev.txt)")
    schema = ("--builtin-schema", "vendor.github-workflows")
    passes(sys.executable, "-m", "check_jsonschema", *schema, str(FILE))


def test_a_linter_of_workflows_finds_no_hole_in_it() -> None:
    if shutil.which("zizmor") is None:
        pytest.skip("zizmor is not installed (requirements-dev.txt)")
    passes("zizmor", "--offline", "--persona", "pedantic", "--quiet", str(FILE))


def test_each_action_is_pinned_to_a_commit_and_says_its_version() -> None:
    used = re.findall(r"uses: (.*)", TEXT)
    assert len(used) == sum("uses" in step for step in STEPS) > 4
    for each in used:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)


def test_it_does_what_a_user_does() -> None:
    commands = [line for line in LINES if line.split()[0] in ("make", "git", "dvc")]
    assert commands == ["make test", "make long", "make repro", "git diff --exit-code"]
    for line in LINES:
        if line.startswith(".venv/bin/dvc "):
            assert re.fullmatch(r"\.venv/bin/dvc (metrics|params) diff --md HEAD\^", line)


@pytest.mark.parametrize(
    "target", sorted({*re.findall(r"make (\S+)", f"{LINES} {CONTAINER}".replace("'", " "))})
)
def test_what_they_make_can_be_made(target: str) -> None:
    passes("make", "--dry-run", target, f"PYTHON={sys.executable}")


def test_it_tests_on_each_python_that_the_project_supports() -> None:
    pythons = JOBS["test"]["strategy"]["matrix"]["python"]
    supported = [each.split()[-1] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert pythons == supported
    [image] = re.findall(r"/python:(3\.\d+)-", CONTAINER["image"])
    assert image in supported


def test_what_it_keeps_for_the_next_run_is_what_dvc_and_the_encoders_keep() -> None:
    [cache] = [step["with"] for step in STEPS if step.get("uses", "").startswith("actions/cache@")]
    assert cache["path"].split() == [".dvc/cache", ".sentifuse"]
    [report] = [step["with"] for step in STEPS if "upload-artifact@" in step.get("uses", "")]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert report["path"] in stages["report"]["outs"]


def test_the_container_forwards_the_port_of_the_page() -> None:
    parser = argparse.ArgumentParser()
    serve.add_options(parser)
    assert CONTAINER["forwardPorts"] == [parser.get_default("port")]
