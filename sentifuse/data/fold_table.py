"""The table of the folds, `data/folds.csv`: which part each labelled row has in each fold.

The chain of stages runs on fold 0, which is the split table; `cross_validate` trains on every fold.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

COLUMNS = ["guid", "fold", "split"]


def make(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The labelled rows of split tables, one table for each fold; no rows if there is one only.

    Returns:
        The columns `guid`, `fold` (0, 1, ...) and `split`, fold by fold.
    """
    several = tables if len(tables) > 1 else ()
    labelled = [
        table.loc[table["label"] != "", ["guid", "split"]].assign(fold=str(number))
        for number, table in enumerate(several)
    ]
    return pd.concat([pd.DataFrame(columns=COLUMNS, dtype=str), *labelled])[COLUMNS]


def read(path: Path) -> pd.DataFrame:
    """Reads what `make` made; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def of(table: pd.DataFrame, folds: pd.DataFrame, number: int) -> pd.DataFrame:
    """The split table `table` with the parts that its labelled rows have in fold `number` of `folds`."""
    own = folds[folds["fold"] == str(number)]
    parts = table["guid"].map(dict(zip(own["guid"], own["split"], strict=True)))
    return table.assign(split=parts.fillna(table["split"]))
