"""`dvc.yaml` against the code: what a stage imports and reads is what it declares."""

import ast
import dataclasses
import importlib
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from sentifuse.runtime import pins
from tools import dependencies
from tools.closure import ROOT, TEMPLATE, closure, imports

DOCUMENT = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PINS = yaml.safe_load((ROOT / pins.FILE).read_text(encoding="utf-8"))
STAGES: dict[str, dict[str, Any]] = DOCUMENT["stages"]
HEAVY = ("torch", "transformers", "pandas", "sklearn", "PIL", "matplotlib")


def names(entries: list[Any]) -> list[str]:
    """The paths of a list of deps or outs, of which each may be a path or a path with options."""
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def is_code(name: str) -> bool:
    return name.endswith((".py", TEMPLATE))


def written(stage: str) -> set[str]:
    kinds = ("outs", "metrics", "plots")
    return {name for kind in kinds for name in names(STAGES[stage].get(kind, []))}


def data_read(stage: str) -> set[str]:
    return {name for name in names(STAGES[stage]["deps"]) if not is_code(name)}


# Code


def test_stages_are_the_files_in_their_folder() -> None:
    files = {path.stem for path in (ROOT / "stages").glob("*.py")}
    assert set(STAGES) == files
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m stages.{name}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_just_the_code_that_the_stage_imports(stage: str) -> None:
    declared = [name for name in names(STAGES[stage]["deps"]) if is_code(name)]
    assert len(set(declared)) == len(declared)
    assert sorted(declared) == closure(ROOT / "stages" / f"{stage}.py")


def test_the_library_does_not_import_stages() -> None:
    for path in sorted((ROOT / "sentifuse").rglob("*.py")):
        assert not [name for name in closure(path) if name.startswith("stages/")], path


def test_init_files_hold_a_docstring_only() -> None:
    paths = [path for top in ("sentifuse", "stages") for path in (ROOT / top).rglob("__init__.py")]
    assert len(paths) >= 3
    for path in paths:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path
        assert ast.get_docstring(ast.Module(body, [])), path


def test_importing_a_stage_imports_nothing_slow() -> None:
    code = (
        "import importlib, json, sys\n"
        "found = {}\n"
        "for name in sys.argv[2:]:\n"
        "    importlib.import_module(f'stages.{name}')\n"
        "    found[name] = [each for each in json.loads(sys.argv[1]) if each in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(HEAVY), *STAGES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout) == {stage: [] for stage in STAGES}


# Params


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_just_the_params_that_it_reads(stage: str) -> None:
    kind = importlib.import_module(f"stages.{stage}").Params
    read = [field.name for field in dataclasses.fields(kind)]
    assert [entry for entry in STAGES[stage]["params"] if isinstance(entry, str)] == read


def test_every_param_is_read_by_a_stage() -> None:
    read = {name for stage in STAGES.values() for name in stage["params"] if isinstance(name, str)}
    assert set(PARAMS) == read


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_libraries_that_its_code_imports(stage: str) -> None:
    [declared] = [
        entry[pins.FILE.name] for entry in STAGES[stage]["params"] if isinstance(entry, dict)
    ]
    code = [path for path in closure(ROOT / "stages" / f"{stage}.py") if path.endswith(".py")]
    imported = {name.partition(".")[0] for path in code for name in imports(ROOT / path)}
    direct = {name for name in PINS if pins.module(name) in imported}
    assert direct <= set(declared) <= set(PINS)
    assert ("torch" in declared) == (stage not in ("demo_data", "split", "report", "package"))


def test_what_is_written_by_the_tool_is_up_to_date() -> None:
    assert dependencies.main(["--check"]) == 0


# Data

CHAIN: dict[str, tuple[set[str], set[str]]] = {
    "demo_data": (set(), {"data/demo"}),
    "split": (
        {"${data.root}", "splits"},
        {
            "data/manifest.csv",
            "data/splits.csv",
            "data/folds.csv",
            "data/duplicates.csv",
            "data/bad_samples.csv",
            "data/modality_labels.csv",
        },
    ),
    "preprocess": ({"data/manifest.csv"}, {"data/features"}),
    "train_stage1": ({"data/features", "data/splits.csv"}, {"models/stage1"}),
    "train_stage2": ({"data/features", "data/splits.csv", "models/stage1"}, {"models/stage2"}),
    "train_baselines": ({"data/features", "data/splits.csv"}, {"data/baselines"}),
    "evaluate": (
        {
            "data/features",
            "data/splits.csv",
            "data/manifest.csv",
            "data/duplicates.csv",
            "data/modality_labels.csv",
            "models/stage2",
            "data/baselines",
        },
        {"data/evaluation"},
    ),
    "package": (
        {"data/features", "data/splits.csv", "models/stage2", "metrics/evaluate.json"},
        {"models/bundle"},
    ),
    "explain": (
        {"data/manifest.csv", "data/evaluation", "models/bundle"},
        {"data/explanations.json"},
    ),
    "ablate": ({"data/features", "data/splits.csv"}, {"data/ablation"}),
    "cross_validate": (
        {"data/features", "data/splits.csv", "data/folds.csv"},
        {"data/cross_validation"},
    ),
    "audit": (
        {"data/features", "data/splits.csv", "data/duplicates.csv"},
        {"data/label_audit.csv"},
    ),
    "report": (
        {
            "data/manifest.csv",
            "data/evaluation",
            "data/explanations.json",
            "data/ablation",
            "data/label_audit.csv",
            "models/stage2",
            "metrics/data.json",
            "metrics/features.json",
            "metrics/evaluate.json",
            "metrics/ablate.json",
            "metrics/folds.json",
            "metrics/audit.json",
            "plots/stage1.csv",
            "plots/stage2.csv",
            "plots/confusion.csv",
            "plots/reliability.csv",
            "plots/risk_coverage.csv",
            "plots/ablate_runs.csv",
        },
        {"reports"},
    ),
    "infer": (
        {"data/manifest.csv", "data/features", "data/splits.csv", "models/stage2"},
        {"data/predictions"},
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_and_writes_its_part_of_the_chain(stage: str) -> None:
    assert (data_read(stage), set(names(STAGES[stage].get("outs", [])))) == CHAIN[stage]


def test_everything_read_is_written_by_another_stage() -> None:
    outs = {name: stage for stage in STAGES for name in written(stage)}
    assert sum(len(written(stage)) for stage in STAGES) == len(outs)
    for stage in STAGES:
        for name in data_read(stage) - {"splits"}:  # which git has
            produced = name.replace("${data.root}", PARAMS["data"]["root"])
            assert outs[produced] != stage


def test_the_default_data_is_what_the_demo_stage_writes() -> None:
    assert PARAMS["data"]["root"] == "data/demo"


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_stay_in_the_run_cache(stage: str) -> None:
    # An entry with `cache: false` or `persist: true` would keep the stage out of it.
    assert all(isinstance(entry, str) for entry in STAGES[stage].get("outs", []))


@pytest.mark.parametrize("stage", STAGES)
def test_metrics_and_plots_are_small_files_for_git(stage: str) -> None:
    for kind in ("metrics", "plots"):
        for entry in STAGES[stage].get(kind, []):
            assert isinstance(entry, dict), entry
            [options] = entry.values()
            assert options["cache"] is False
            assert next(iter(entry)).startswith(f"{kind}/")


def test_plots_are_drawn_of_files_that_a_stage_writes() -> None:
    files = {name for stage in STAGES for name in written(stage)}
    drawn = {path for plot in DOCUMENT["plots"] for entry in plot.values() for path in entry["y"]}
    assert drawn
    assert drawn <= files


def test_artifacts_are_outs_of_a_stage_with_names_that_a_tag_may_have() -> None:
    outs = {name for stage in STAGES for name in names(STAGES[stage].get("outs", []))}
    assert DOCUMENT["artifacts"]["sentiment"]["path"] == "models/bundle"
    for name, artifact in DOCUMENT["artifacts"].items():
        assert re.fullmatch("[a-z][a-z0-9-]*[a-z0-9]", name)
        assert artifact["path"] in outs
