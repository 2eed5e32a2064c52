"""Reads the experiments of the repository: the params and metrics of each, by dotted keys."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any

from sentifuse.errors import UserError
from sentifuse.experiments import lockfile


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
        stale: files of metrics that were made with other params, and were left out.
        same_as: name of an experiment with the same params and metrics, if there is one before it.
    """

    name: str
    rev: str
    baseline: str
    created: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    stale: tuple[str, ...] = ()
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

    Metrics that were made with other params than those beside them are left out (`lockfile`); whoever
    has no others is `stale`.

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
        baseline = state.name or _short(state.rev)
        if place := _experiment(repo, state, baseline, skipped):
            places.append(place)
        for run, status in _runs(state):
            if status != "success":
                skipped[status] += 1
            elif experiment := _experiment(repo, run, baseline, skipped):
                runs.append(experiment)
    runs.sort(key=lambda run: (run.created, run.name, run.rev))
    places.sort(key=lambda place: (place.rev == "workspace", place.created, place.name))
    return runs + places, dict(sorted(skipped.items()))


def _runs(baseline: Any) -> Iterator[tuple[Any, str]]:
    """The experiments of a commit, each with `success`, `queued`, `running` or `failed`."""
    for candidate in baseline.experiments or ():
        yield candidate.revs[0], candidate.executor.state if candidate.executor else "success"


def _experiment(repo: Any, state: Any, baseline: str, skipped: Counter[str]) -> Experiment | None:
    from dvc.utils.flatten import flatten

    if state.data is None:
        skipped["unreadable"] += 1
        return None
    inside = _project(repo)
    documents = dict(_readable(state.data.params, inside))
    files = dict(_readable(state.data.metrics, inside))
    lock = lockfile.read(_lock(repo, state.rev, inside))
    stale = set(files) & lockfile.stale_outputs(lock, documents)
    metrics = {
        f"{_prefix(path)}{key}": value
        for path, document in files.items()
        if path not in stale
        for key, value in flatten(document).items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
    if not metrics:
        skipped["stale" if stale else "without metrics"] += 1
        return None
    params = {
        key: value for document in documents.values() for key, value in flatten(document).items()
    }
    name = state.name or _short(state.rev)
    created = _utc(state.data.timestamp)
    return Experiment(name, state.rev, baseline, created, params, metrics, tuple(sorted(stale)))


def _project(repo: Any) -> PurePath:
    """Where `dvc.yaml` is, from the root of DVC's repository: it may lie deeper."""
    root, here = Path(repo.root_dir), Path.cwd()
    above = (folder for folder in (here, *here.parents) if (folder / "dvc.yaml").exists())
    found = next(above, root)
    return found.relative_to(root) if found.is_relative_to(root) else PurePath()


def _readable(files: Mapping[str, Any], inside: PurePath) -> Iterator[tuple[str, dict[str, Any]]]:
    """Paths as `dvc.lock` has them, from its folder `inside`, and what stands there."""
    for path, file in sorted(files.items()):
        if isinstance(document := file.get("data"), dict) and PurePath(path).is_relative_to(inside):
            yield PurePath(path).relative_to(inside).as_posix(), document


def _lock(repo: Any, rev: str, inside: PurePath) -> str:
    with repo.switch(rev):
        path = repo.fs.join(repo.root_dir, *inside.parts, "dvc.lock")
        return str(repo.fs.read_text(path, encoding="utf-8")) if repo.fs.exists(path) else ""


def _prefix(path: str) -> str:
    stem = PurePath(path).stem
    return "" if stem == "evaluate" else f"{stem}."


def _short(rev: str) -> str:
    return rev if rev == "workspace" else rev[:7]


def _utc(time: datetime | None) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if time else ""
