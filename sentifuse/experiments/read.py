"""Reads the experiments of the repository: the params and metrics of each, by dotted keys.

`dvc exp show --json` gives them. Which params each stage ran with is not in its JSON, and is needed to tell
whether metrics belong to the params beside them: that is read from the `dvc.lock` in Git.
"""

import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from sentifuse.config.overrides import flat
from sentifuse.errors import UserError
from sentifuse.experiments import lockfile

# Where DVC keeps an experiment in Git: below the commit that the experiment derives from.
_REF = re.compile("refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/")
REPORTS = "reports"  # the output of the stage `report`, beside `dvc.yaml`


@dataclass(frozen=True)
class Experiment:
    """One run of the pipeline that Git knows, or the one in the workspace.

    Attributes:
        name: of the experiment, of the branch or tag, the short commit, or `workspace`.
        baseline: the name of the commit that it derives from; its own name for a commit.
        created: time of the commit, ISO 8601 in UTC; empty for the workspace.
        params: dotted key -> number, text, bool, None or list.
        metrics: dotted key -> number. Keys of `evaluate.json` stand as they are, those of any other
            file follow its name: `val.macro_f1`, `ablate.multimodal.macro_f1.mean`.
        stale: files of metrics that were made with other params, and were left out.
        same_as: name of the first experiment with the same params and metrics, if it is another one.
        report: DVC's hash of the folder `REPORTS`; empty if there is none that was made with these params.
    """

    name: str
    rev: str
    baseline: str
    created: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    stale: tuple[str, ...] = ()
    same_as: str = ""
    report: str = ""


def read() -> tuple[tuple[Experiment, ...], dict[str, int]]:
    """Reads all experiments, the commits that they derive from, `HEAD` and the workspace.

    Returns:
        Those with metrics: the experiments by time, the commits, the workspace; and why others are not
        among them (`queued`, `running`, `failed`, `stale`, `unreadable`, `without metrics`) -> how many.

    Raises:
        UserError: not in a DVC repository, or in one without Git, or what DVC complains of.
    """
    root, project = folders()
    skipped: Counter[str] = Counter()
    places: list[Experiment] = []
    runs: list[Experiment] = []
    for state in _show(root):
        baseline = _name(state)
        found = [(places, state, "success")]
        for run in state["experiments"] or ():
            executor = run["executor"] or {"state": "success"}
            found.append((runs, run["revs"][0], executor["state"]))
        for kept, each, status in found:
            one = _experiment(each, baseline, root, project) if status == "success" else status
            if isinstance(one, Experiment):
                kept.append(one)
            else:
                skipped[one] += 1
    runs.sort(key=lambda run: (run.created, run.name, run.rev))
    places.sort(key=lambda place: (place.rev == "workspace", place.created, place.name))
    return mark_repeats(runs + places), dict(sorted(skipped.items()))


def mark_repeats(experiments: Sequence[Experiment]) -> tuple[Experiment, ...]:
    """Sets `same_as`: results are a pure function of the params, so a repeat does not count again."""
    first: dict[str, str] = {}
    marked = []
    for experiment in experiments:
        content = repr((sorted(experiment.params.items()), sorted(experiment.metrics.items())))
        marked.append(replace(experiment, same_as=first.get(content, "")))
        first.setdefault(content, experiment.name)
    return tuple(marked)


def folders() -> tuple[Path, Path]:
    """The root of DVC's repository, and the folder of `dvc.yaml`, which may lie deeper.

    Raises:
        UserError: not in a DVC repository.
    """
    above = [Path.cwd(), *Path.cwd().parents]
    root = next((folder for folder in above if (folder / ".dvc").is_dir()), None)
    if root is None:
        raise UserError("no DVC repository here: change into one, or run `dvc init`")
    project = next((folder for folder in above if (folder / "dvc.yaml").exists()), root)
    return root, project if project.is_relative_to(root) else root


def _show(root: Path) -> list[dict[str, Any]]:
    """The states that `dvc exp show` lists: of the workspace, of `HEAD`, of each commit with experiments."""
    refs = _call(root, "git", "for-each-ref", "--format=%(refname)", "refs/exps")
    if refs.returncode:
        raise UserError("DVC works without Git here: experiments need a Git repository")
    commits = sorted({"".join(found) for found in _REF.findall(refs.stdout)})
    chosen = [part for rev in ("HEAD", *commits) for part in ("--rev", rev)]
    shown = _call(root, sys.executable, "-m", "dvc", "exp", "show", "--json", *chosen)
    if shown.returncode:
        reason = shown.stderr.strip().rpartition("\n")[2].removeprefix("ERROR: ")
        raise UserError(f"cannot read the experiments: {reason}")
    return list(json.loads(shown.stdout))


def _call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def _experiment(state: Any, baseline: str, root: Path, project: Path) -> Experiment | str:
    """The experiment, or why it is none."""
    data, rev = state["data"], state["rev"]
    if data is None:
        return "unreadable"
    inside = project.relative_to(root)
    documents, files = (dict(_readable(data[kind], inside)) for kind in ("params", "metrics"))
    old = lockfile.stale_outputs(lockfile.read(_lock(project, rev)), documents)
    stale = set(files) & old
    metrics = _numbers({path: files[path] for path in files if path not in stale})
    if not metrics:
        return "stale" if stale else "without metrics"
    # DVC gives the local time without its zone; it has none for the workspace.
    time = data["timestamp"] and datetime.fromisoformat(data["timestamp"]).astimezone(UTC)
    return Experiment(
        name=_name(state),
        rev=rev,
        baseline=baseline,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ") if time else "",
        params={
            key: value for document in documents.values() for key, value in flat(document).items()
        },
        metrics=metrics,
        stale=tuple(sorted(stale)),
        report="" if REPORTS in old else _hash(data["outs"], inside / REPORTS),
    )


def _hash(outs: Mapping[str, Any], path: PurePath) -> str:
    return outs.get(path.as_posix(), {}).get("hash") or ""


def _numbers(files: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The finite numbers in files of metrics, by keys as in `Experiment`."""
    found: dict[str, Any] = {}
    for path, document in files.items():
        stem = PurePath(path).stem
        found |= flat(document, "" if stem == "evaluate" else f"{stem}.")
    return {
        key: value
        for key, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _readable(files: Mapping[str, Any], inside: PurePath) -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths as `dvc.lock` has them, from its folder `inside`, and what stands there."""
    for path, file in sorted(files.items()):
        if isinstance(document := file.get("data"), dict) and PurePath(path).is_relative_to(inside):
            yield PurePath(path).relative_to(inside).as_posix(), document


def _lock(project: Path, rev: str) -> str:
    """The text of `dvc.lock` in a commit or in the workspace; empty if there is none."""
    path = project / "dvc.lock"
    if rev != "workspace":
        return _call(project, "git", "show", f"{rev}:./{path.name}").stdout
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _name(state: Mapping[str, Any]) -> str:
    rev = str(state["rev"])
    return state["name"] or (rev if rev == "workspace" else rev[:7])
