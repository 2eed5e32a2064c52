"""Compares two experiments run by run: the paired difference over the splits that both have seen."""

import io
from dataclasses import dataclass

import pandas as pd

from sentifuse.errors import UserError

RUNS = "plots/ablate_runs.csv"
SCORES = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Difference:
    """The paired difference of one score, in points (hundredths).

    Attributes:
        mean: of the differences over the splits.
        standard_error: sample standard deviation of the differences over the root of their number.
            Splits overlap, so the true error is somewhat larger (Nadeau and Bengio 2003).
        wins: splits on which the first is better.
        splits: how many splits both have.
    """

    mean: float
    standard_error: float
    wins: int
    splits: int


def read_runs(rev: str) -> pd.DataFrame:
    """The runs that `ablate` wrote in experiment, branch or commit `rev`; `workspace` for here.

    Raises:
        UserError: no such revision, or no runs in it.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        text = dvc.api.read(RUNS, rev=None if rev == "workspace" else rev)
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{rev}: no {RUNS} in it ({error}); see `dvc exp show`") from None
    return pd.read_csv(io.StringIO(str(text)))


def compare(first: pd.DataFrame, second: pd.DataFrame, variant: str) -> dict[str, Difference]:
    """The difference `first` - `second` of each score, paired by seed.

    Args:
        first: runs with columns `variant`, `seed` and `SCORES`; with `ablate.resplit` a seed is a split.
        second: the same of another experiment.
        variant: which variant to compare, such as `multimodal`.

    Raises:
        UserError: fewer than two seeds in common.
    """
    both = pd.merge(
        first[first["variant"] == variant],
        second[second["variant"] == variant],
        on="seed",
        suffixes=("_first", "_second"),
    )
    if len(both) < 2:
        raise UserError(f"{variant}: {len(both)} seeds in common: at least 2 are needed to compare")
    found = {}
    for score in SCORES:
        points = 100 * (both[f"{score}_first"] - both[f"{score}_second"])
        found[score] = Difference(
            mean=float(points.mean()),
            standard_error=float(points.std(ddof=1) / len(points) ** 0.5),
            wins=int((points > 0).sum()),
            splits=len(points),
        )
    return found
