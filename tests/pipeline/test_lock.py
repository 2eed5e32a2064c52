"""The committed `dvc.lock` belongs to the committed code, params, pins, metrics and plots; nothing is run."""

import hashlib
from typing import Any

import pytest
import yaml

from sentifuse.config import yaml_file
from sentifuse.runtime import pins
from tools.closure import ROOT

STAGES: dict[str, dict[str, Any]] = yaml_file.read(ROOT / "dvc.yaml")["stages"]
LOCKED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))[
    "stages"
]
IN_GIT = ("metrics/", "plots/", "stages/", "sentifuse/")
KEPT = {entry["path"]: entry["md5"] for stage in LOCKED.values() for entry in stage.get("outs", [])}
AGAIN = "run `dvc repro` on the demo data and commit dvc.lock, metrics/ and plots/"


def md5(path: str) -> str:
    return hashlib.md5((ROOT / path).read_bytes(), usedforsecurity=False).hexdigest()


def names(entries: list[Any]) -> set[str]:
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_there_is_a_record_of_every_stage() -> None:
    assert set(LOCKED) == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_record_has_the_files_that_the_stage_declares(stage: str) -> None:
    kinds = ("outs", "metrics", "plots")
    declared = names([entry for kind in kinds for entry in STAGES[stage].get(kind, [])])
    assert {entry["path"] for entry in LOCKED[stage]["outs"]} == declared
    root = yaml_file.read(ROOT / "params.yaml")["data"]["root"]
    deps = {name.replace("${data.root}", root) for name in names(STAGES[stage]["deps"])}
    assert {entry["path"] for entry in LOCKED[stage]["deps"]} == deps


@pytest.mark.parametrize("stage", STAGES)
def test_files_in_git_are_those_that_the_run_saw_and_wrote(stage: str) -> None:
    entries = [*LOCKED[stage]["deps"], *LOCKED[stage]["outs"]]
    in_git = [entry for entry in entries if entry["path"].startswith(IN_GIT)]
    assert in_git
    for entry in in_git:
        assert md5(entry["path"]) == entry["md5"], f"{stage}: {entry['path']}: {AGAIN}"


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_read_is_what_another_wrote(stage: str) -> None:
    read = [entry for entry in LOCKED[stage]["deps"] if not entry["path"].endswith((".py", ".j2"))]
    for entry in read:
        if entry["path"] == "splits":  # which git has
            continue
        whole = KEPT.get(entry["path"])
        assert whole is None or whole == entry["md5"], f"{stage}: {entry['path']}: {AGAIN}"
        assert whole is not None or any(entry["path"].startswith(f"{path}/") for path in KEPT)


@pytest.mark.parametrize("stage", STAGES)
def test_params_and_pins_are_those_of_the_run(stage: str) -> None:
    wanted = {
        "params.yaml": [entry for entry in STAGES[stage]["params"] if isinstance(entry, str)],
        pins.FILE.name: [name for entry in STAGES[stage]["params"] if isinstance(entry, dict)
                         for name in entry[pins.FILE.name]],
    }  # fmt: skip
    for name, keys in wanted.items():
        values = yaml_file.read(ROOT / name)
        assert LOCKED[stage]["params"][name] == {key: values[key] for key in keys}, (
            f"{stage}: {AGAIN}"
        )
