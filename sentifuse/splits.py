"""Which sample is for what: `train`, `val`, `test`, or `predict` where the label is unknown."""

import math
from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from sentifuse.errors import UserError
from sentifuse.files import write_text
from sentifuse.manifest import LabelRow

COLUMNS = ["guid", "label", "split"]


def assign(rows: list[LabelRow], *, seed: int, val_size: float, test_size: float) -> list[str]:
    """Assigns each labelled row to a part, stratified by label.

    Two calls of `train_test_split`, as is usual: first train against the rest, then the rest into
    validation and test, both with the same seed, on the rows in their given order.

    Args:
        rows: labelled rows, in file order.
        seed: `random_state` of both splits.
        val_size: share of the rows for validation; 0 for none.
        test_size: share of the rows for the test; 0 for none.

    Returns:
        The part of each row: `train`, `val` or `test`.

    Raises:
        UserError: the shares leave nothing to train on, or a label has too few rows for them.
    """
    # 0.1 + 0.2 is 0.30000000000000004, which would round up to one row too many.
    held_out = round(val_size + test_size, 9)
    if held_out >= 1:
        raise UserError(
            f"split: val_size {val_size} + test_size {test_size}: must be below 1, to leave rows to train on"
        )
    parts = ["train"] * len(rows)
    if held_out == 0:
        return parts
    tags = [row.tag for row in rows]
    try:
        _, rest = train_test_split(
            range(len(rows)), test_size=held_out, random_state=seed, stratify=tags
        )
        if val_size == 0 or test_size == 0:
            val, test = ([], rest) if val_size == 0 else (rest, [])
        else:
            val, test = train_test_split(
                rest,
                test_size=math.ceil(round(len(rest) * test_size / held_out, 6)),
                random_state=seed,
                stratify=[tags[index] for index in rest],
            )
    except ValueError as error:
        raise UserError(
            f"split: {len(rows)} labelled rows cannot be split with val_size {val_size} and "
            f"test_size {test_size}: {error}"
        ) from None
    for index in val:
        parts[index] = "val"
    for index in test:
        parts[index] = "test"
    return parts


def table(labelled: list[LabelRow], parts: list[str], predict: list[LabelRow]) -> pd.DataFrame:
    """The split table: labelled rows, then the rows to predict (label empty), in file order."""
    rows = [(row.guid, row.tag, part) for row, part in zip(labelled, parts, strict=True)]
    rows += [(row.guid, "", "predict") for row in predict]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def reassign(splits: pd.DataFrame, *, seed: int, val_size: float, test_size: float) -> pd.DataFrame:
    """The same table with the labelled rows assigned anew, as `assign` does with `seed`."""
    labelled = splits["split"] != "predict"
    rows = [LabelRow(guid, tag) for guid, tag in splits.loc[labelled, ["guid", "label"]].to_numpy()]
    out = splits.copy()
    out.loc[labelled, "split"] = assign(rows, seed=seed, val_size=val_size, test_size=test_size)
    return out


def write(splits: pd.DataFrame, path: Path) -> None:
    """Writes `splits` as CSV."""
    write_text(path, splits.to_csv(index=False, lineterminator="\n"))


def read(path: Path) -> pd.DataFrame:
    """Reads what `write` wrote; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
