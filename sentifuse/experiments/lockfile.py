"""Tells from `dvc.lock` which outputs were made with other params than those that stand beside it.

`dvc exp run evaluate` leaves the metrics of `ablate` as they were, made with the params before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentifuse.config import yaml_file

_MISSING = object()


def read(text: str) -> dict[str, Any]:
    """The stages of a `dvc.lock` by name; none for an empty text."""
    document = yaml_file.parse(text) or {}
    return dict(document.get("stages", {}))


def stale_outputs(stages: Mapping[str, Any], params: Mapping[str, Any]) -> set[str]:
    """The outputs of stages that `dvc repro` would run again for their params or inputs.

    A stage is stale if one of its params has another value than in the lock, if one of its inputs has another
    hash than the stage that writes it recorded, or if that stage is stale. Code is not looked at.
    `stages` are those of `read`, `params` maps files to their documents, and paths are as the lock has them.
    """
    writers = {
        out["path"]: (name, out.get("md5"))
        for name, stage in stages.items()
        for out in stage.get("outs", ())
    }
    found: dict[str, bool] = {}

    def is_stale(name: str) -> bool:
        if name not in found:
            inputs = [dep for dep in stages[name].get("deps", ()) if dep["path"] in writers]
            found[name] = not _has_params(stages[name], params) or any(
                is_stale(writers[dep["path"]][0]) or writers[dep["path"]][1] != dep.get("md5")
                for dep in inputs
            )
        return found[name]

    return {path for path, (name, _) in writers.items() if is_stale(name)}


def stale_here(lock: Path = Path("dvc.lock")) -> set[str]:
    """As `stale_outputs`, with the params that stand beside `lock` now; none without a lock.

    Raises:
        UserError: a file of params is missing or not YAML.
    """
    if not lock.exists():
        return set()
    stages = read(lock.read_text(encoding="utf-8"))
    named = {file for stage in stages.values() for file in stage.get("params", {})}
    return stale_outputs(stages, {file: yaml_file.read(lock.parent / file) for file in named})


def _has_params(stage: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    return all(
        _at(params.get(file, {}), key) == value
        for file, values in stage.get("params", {}).items()
        for key, value in values.items()
    )


def _at(document: Any, key: str) -> Any:
    for part in key.split("."):
        document = document.get(part, _MISSING) if isinstance(document, dict) else _MISSING
    return document
