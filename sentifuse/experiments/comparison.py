"""Compares experiments run by run: the paired differences over the splits that both of two were run on."""

import io
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

import pandas as pd
from dvc.exceptions import DvcException
from dvc.repo import Repo

from sentifuse.errors import UserError
from sentifuse.metrics.scores import COMPARED
from sentifuse.metrics.significance import Difference, corrected_t_test, holm

RUNS = "plots/ablate_runs.csv"


def read_runs(revs: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The runs that `ablate` wrote in each of `revs`: experiments, branches, commits, or the `workspace`.

    Raises:
        UserError: no such revision, the same one twice, no runs in it, or runs of a version that did not
            record the splits.
    """
    out: dict[str, pd.DataFrame] = {}
    names: dict[str, str] = {}  # commit -> the first name that was given for it
    for rev in revs:
        commit, text = _read(rev)
        if commit in names:
            raise UserError(f"{rev}: the same revision as {names[commit]}: name each one once")
        names[commit] = rev
        out[rev] = pd.read_csv(io.StringIO(text))
        if "split_seed" not in out[rev]:
            raise UserError(
                f"{rev}: {RUNS} has no column split_seed: an older version wrote it: run `dvc repro ablate` "
                "there"
            )
    return out


def compare(
    runs: Mapping[str, pd.DataFrame], variant: str, level: float = 0.95
) -> dict[str, dict[str, Difference]]:
    """Score -> experiment -> the difference of the first experiment minus this one, in points (hundredths).

    The p-values of a score are corrected for the number of comparisons (`significance.holm`).

    Args:
        runs: experiment -> its runs as of `ablation.table`, each over a split of its own; two or more.
        variant: which variant of all.
        level: of the intervals, 0..1.

    Raises:
        UserError: runs that share one split, fewer than two splits in common, or other data.
    """
    (first, of_first), *others = (
        (name, table[table["variant"] == variant]) for name, table in runs.items()
    )
    found = {
        name: _pair(of_first, own, f"{first} - {name}, {variant}", level) for name, own in others
    }
    # Runs of earlier versions have no weighted F1.
    known = [score for score in COMPARED if all(score in own for own in found.values())]
    return {
        score: holm({name: differences[score] for name, differences in found.items()})
        for score in known
    }


def _read(rev: str) -> tuple[str, str]:
    """The commit that `rev` names, and its `RUNS` as text."""
    try:
        # Not `dvc.api.read`: it looks from the root of the Git repository, where the project need not be.
        with (
            Repo() as repo,
            nullcontext(rev) if rev == "workspace" else repo.switch(rev) as commit,
        ):
            return commit, repo.dvcfs.read_text(RUNS, encoding="utf-8")
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{rev}: no {RUNS} in it ({error}); see `dvc exp show`") from None


def _pair(
    first: pd.DataFrame, second: pd.DataFrame, what: str, level: float
) -> dict[str, Difference]:
    """Score -> the difference `first` - `second`, paired by split; `what` stands before an error."""
    if first["split_seed"].isna().any() or second["split_seed"].isna().any():
        raise UserError(
            f"{what}: runs over one split say nothing of others: set ablate.resplit=true"
        )
    both = pd.merge(first, second, on="split_seed", suffixes=("_first", "_second"))
    if len(both) < 2:
        raise UserError(f"{what}: {len(both)} splits in common: at least 2 are needed to compare")
    for part in ("train_samples", "test_samples"):
        if (both[f"{part}_first"] != both[f"{part}_second"]).any():
            raise UserError(
                f"{what}: {part} differ: the two ran on other splits: same data, split sizes and grouping?"
            )
    ratio = float((both["test_samples_first"] / both["train_samples_first"]).mean())
    return {
        score: corrected_t_test(
            100 * (both[f"{score}_first"] - both[f"{score}_second"]).to_numpy(), ratio, level
        )
        for score in COMPARED
        if f"{score}_first" in both
    }
