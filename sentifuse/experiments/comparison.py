"""Compares two experiments run by run: the paired difference over the splits that both were run on."""

import io
from contextlib import nullcontext

import pandas as pd
from dvc.exceptions import DvcException
from dvc.repo import Repo

from sentifuse.errors import UserError
from sentifuse.metrics.scores import COMPARED
from sentifuse.metrics.significance import Difference, corrected_t_test

RUNS = "plots/ablate_runs.csv"


def read_runs(rev: str) -> pd.DataFrame:
    """The runs that `ablate` wrote in the experiment, branch or commit `rev`, or in the `workspace`.

    Raises:
        UserError: no such revision, no runs in it, or runs of a version that did not record the splits.
    """
    try:
        # Not `dvc.api.read`: it looks from the root of the Git repository, where the project need not be.
        with Repo() as repo, nullcontext() if rev == "workspace" else repo.switch(rev):
            text = repo.dvcfs.read_text(RUNS, encoding="utf-8")
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{rev}: no {RUNS} in it ({error}); see `dvc exp show`") from None
    runs = pd.read_csv(io.StringIO(text))
    if "split_seed" not in runs:
        raise UserError(
            f"{rev}: {RUNS} has no column split_seed: an older version wrote it: run `dvc repro ablate` there"
        )
    return runs


def compare(
    first: pd.DataFrame, second: pd.DataFrame, variant: str, level: float = 0.95
) -> dict[str, Difference]:
    """The difference `first` - `second` of each score, paired by split, in points (hundredths).

    Both are runs as of `ablation.table`, each over a split of its own; `level` is that of the interval, 0..1.

    Raises:
        UserError: runs that share one split, fewer than two splits in common, or other data.
    """
    if first["split_seed"].isna().any() or second["split_seed"].isna().any():
        raise UserError(
            f"{variant}: runs over one split say nothing of others: set ablate.resplit=true"
        )
    both = pd.merge(
        first[first["variant"] == variant],
        second[second["variant"] == variant],
        on="split_seed",
        suffixes=("_first", "_second"),
    )
    if len(both) < 2:
        raise UserError(
            f"{variant}: {len(both)} splits in common: at least 2 are needed to compare"
        )
    for part in ("train_samples", "test_samples"):
        if (both[f"{part}_first"] != both[f"{part}_second"]).any():
            raise UserError(
                f"{variant}: {part} differ: the two ran on other splits: same data, split sizes and grouping?"
            )
    ratio = float((both["test_samples_first"] / both["train_samples_first"]).mean())
    return {
        score: corrected_t_test(
            100 * (both[f"{score}_first"] - both[f"{score}_second"]).to_numpy(), ratio, level
        )
        for score in COMPARED
    }
