"""Reads the experiments of the repository: the params and metrics of each, by dotted keys."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from sentifuse.errors import UserError


@dataclass(frozen=True)
class Experiment:
    """One run of the pipeline that Git knows, or the one in the workspace.

    Attributes:
        name: of the experiment, of the branch or tag, the short commit, or `workspace`.
        rev: commit, or `workspace`.
        baseline: the commit that it derives from, by name; its own name for a commit.
        created: time of the commit, ISO 8601 in UTC; empty for the workspace.
        params: dotted key -> value as YAML has it: number, text, bool, None or list.
        metrics: dotted key -> number. Keys of `evaluate.json` stand as they are, those of any other
            file follow its name: `val.macro_f1`, `ablate.multimodal.macro_f1.mean`.
        same_as: name of an experiment with the same params and metrics, if there is one before it.
    """

    name: str
    rev: str
    baseline: str
    created: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    same_as: str = ""


@dataclass(frozen=True)
class Collected:
    """What was found.

    Attributes:
        experiments: those that have params and metrics, first the experiments by time, then the commits
            they derive from, then the workspace.
        skipped: why others are not among them (`queued`, `running`, `failed`, `stale`, `unreadable`,
            `without metrics`) -> how many.
    """

    experiments: tuple[Experiment, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)


def read() -> Collected:
    """Reads all experiments, the commits that they derive from, `HEAD` and the workspace.

    A commit or workspace whose params are not those that its `dvc.lock` was made with is `stale`: its
    metrics belong to other params.

    Raises:
        UserError: not in a DVC repository, or in one without Git.
    """
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            found, skipped = _collect(repo)
    except NotDvcRepoError:
        raise UserError("no DVC repository here: change into one, or `dvc init`") from None
    except DvcException as error:
        raise UserError(f"cannot read the experiments: {' '.join(str(error).split())}") from None
    return Collected(mark_repeats(found), skipped)


def mark_repeats(experiments: list[Experiment]) -> tuple[Experiment, ...]:
    """Sets `same_as`: runs are a pure function of their params, so a repeat is not one more run."""
    first: dict[str, str] = {}
    marked = []
    for experiment in experiments:
        content = repr((sorted(experiment.params.items()), sorted(experiment.metrics.items())))
        if content in first:
            marked.append(replace(experiment, same_as=first[content]))
        else:
            first[content] = experiment.name
            marked.append(experiment)
    return tuple(marked)


def _collect(repo: Any) -> tuple[list[Experiment], dict[str, int]]:
    # `dvc.api.exp_show` would do, but turns every value into text ("None", "False", "[256, 64]"),
    # dates into "12:45 AM", and looks at the first parents of one branch only.
    from dvc.repo.experiments.utils import exp_refs
    from dvc.scm import Git

    if not isinstance(repo.scm, Git):
        raise UserError("DVC works without Git here: experiments need a Git repository")
    if repo.scm.no_commits:
        return [], {}
    baselines = {repo.scm.get_rev()} | {ref.baseline_sha for ref in exp_refs(repo.scm)}
    skipped: Counter[str] = Counter()
    places, runs = [], []
    for state in repo.experiments.show(revs=sorted(baselines)):
        place = _experiment(state, state.name or _short(state.rev), skipped)
        if place is not None and _is_stale(repo, state.rev):
            skipped["stale"] += 1
        elif place is not None:
            places.append(place)
        for run, status in _runs(state):
            if status != "success":
                skipped[status] += 1
            elif experiment := _experiment(run, state.name or _short(state.rev), skipped):
                runs.append(experiment)
    runs.sort(key=lambda run: (run.created, run.name, run.rev))
    places.sort(key=lambda place: (place.rev == "workspace", place.created, place.name))
    return runs + places, dict(sorted(skipped.items()))


def _runs(baseline: Any) -> Iterator[tuple[Any, str]]:
    """The experiments of a commit, each with `success`, `queued`, `running` or `failed`."""
    for candidate in baseline.experiments or ():
        yield candidate.revs[0], candidate.executor.state if candidate.executor else "success"


def _experiment(state: Any, baseline: str, skipped: Counter[str]) -> Experiment | None:
    if state.data is None:
        skipped["unreadable"] += 1
        return None
    metrics = {
        f"{_prefix(path)}{key}": value
        for path, values in _readable(state.data.metrics)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    if not metrics:
        skipped["without metrics"] += 1
        return None
    params = {
        key: value for _, values in _readable(state.data.params) for key, value in values.items()
    }
    name = state.name or _short(state.rev)
    return Experiment(name, state.rev, baseline, _utc(state.data.timestamp), params, metrics)


def _readable(files: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    from dvc.utils.flatten import flatten

    for path, file in sorted(files.items()):
        if isinstance(values := file.get("data"), dict):
            yield path, flatten(values)


def _is_stale(repo: Any, rev: str) -> bool:
    from dvc.dependency import ParamsDependency

    with repo.switch(rev):
        return any(
            # No value: the stage has never run, and what it would write is not there.
            dep.hash_info.value is not None and dep.workspace_status()
            for stage in repo.index.stages
            for dep in stage.deps
            if isinstance(dep, ParamsDependency)
        )


def _prefix(path: str) -> str:
    stem = PurePath(path).stem
    return "" if stem == "evaluate" else f"{stem}."


def _short(rev: str) -> str:
    return rev if rev == "workspace" else rev[:7]


def _utc(time: datetime | None) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""
