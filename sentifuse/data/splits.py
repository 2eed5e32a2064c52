"""Which sample is for what: `train`, `val`, `test`, or `predict` where the label is unknown.

A row to predict without a usable image or text is `no_input`: it has no features, and gets an answer all
the same. A labelled row that a published split does not name is `unused`.

Samples of one group, such as copies of one picture, go to one part: in the test a model could repeat what it
has learnt by heart from a twin in train.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.errors import UserError

USED_PARTS = ("train", "val", "test")
UNUSED = "unused"
UNLABELLED_PARTS = ("predict", "no_input")
PARTS = (*USED_PARTS, UNUSED, *UNLABELLED_PARTS)


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file; `tag` is `null` where the label is to be predicted."""

    guid: str
    tag: str


class SplitRow(NamedTuple):
    """One row of the split table."""

    guid: str
    label: str
    split: str
    group: str


COLUMNS = list(SplitRow._fields)


def assign(
    rows: list[LabelRow],
    groups: Mapping[str, str],
    *,
    seed: int,
    val_size: float,
    test_size: float,
) -> list[str]:
    """Assigns each labelled row to a part, stratified by label, whole groups at a time.

    Two calls of `train_test_split`, as is usual: first train against the rest, then the rest into
    validation and test, both with the same seed, on the groups in the order of their first rows. A
    group counts as one with its most frequent label, the first in the alphabet of equally frequent
    ones. Where every row stands alone, that is the plain stratified split.

    `groups` maps guids to names; a guid that it lacks stands alone. The sizes are shares of the groups, 0 for
    none, together below 1. Returns the part of each row: `train`, `val` or `test`.

    Raises:
        UserError: a label has too few groups for these shares.
    """
    if val_size + test_size == 0:
        return ["train"] * len(rows)
    names = [groups.get(row.guid, row.guid) for row in rows]
    tags = _tags(rows, names)
    try:
        val, test = _held_out(tags, seed, val_size, test_size)
    except ValueError:
        told = f"{len(rows)} labelled rows"
        if len(tags) < len(rows):
            told += f" in {len(tags)} groups (split.group_duplicates)"
        raise UserError(
            f"split: {told} cannot be split with val_size {val_size} and test_size {test_size}: "
            f"{_too_few(tags, seed, val_size, test_size)}"
        ) from None
    parts = dict.fromkeys(val, "val") | dict.fromkeys(test, "test")
    return [parts.get(name, "train") for name in names]


def _held_out(
    tags: Mapping[str, str], seed: int, val_size: float, test_size: float
) -> tuple[list[str], list[str]]:
    """The names for validation and for the test, not both of size 0; a ValueError if a label has too few."""
    # Late, for it is slow: every stage reads the table, few make one.
    from sklearn.model_selection import train_test_split

    # 0.1 + 0.2 is 0.30000000000000004, which would round up to one row too many.
    held_out = round(val_size + test_size, 9)
    _, rest = train_test_split(
        list(tags), test_size=held_out, random_state=seed, stratify=list(tags.values())
    )
    if val_size == 0 or test_size == 0:
        return ([], rest) if val_size == 0 else (rest, [])
    val, test = train_test_split(
        rest,
        test_size=math.ceil(round(len(rest) * test_size / held_out, 6)),
        random_state=seed,
        stratify=[tags[name] for name in rest],
    )
    return val, test


def _too_few(tags: Mapping[str, str], seed: int, val_size: float, test_size: float) -> str:
    """Says which label has too few for which part, how many it needs, and which shares would do."""
    counts = Counter(tags.values())
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    parts = {"train": 1 - val_size - test_size, "val": val_size, "test": test_size}
    share, part = min((size, part) for part, size in parts.items() if size)
    told = (
        f"every part needs one of each label, and {part}'s {share:.2g} of the {fewest} of {label!r} is "
        f"{share * fewest:.2g}: with these shares a label needs {math.ceil(round(1 / share, 6))}"
    )
    found = _sufficient_shares(tags, seed, val_size, test_size) if fewest > 1 else None
    return f"{told}; val_size {found[0]} and test_size {found[1]} would do" if found else told


def _sufficient_shares(
    tags: Mapping[str, str], seed: int, val_size: float, test_size: float
) -> tuple[float, float] | None:
    """The smallest shares, in hundredths and not below those asked for, that can be split; if any."""
    # Each part needs a name of each label.
    least = len(set(tags.values())) / len(tags)
    rounded = math.ceil(round(100 * least, 6)) / 100
    shares = [rounded if 0 < size < least else size for size in (val_size, test_size)]
    while sum(shares) < 0.99:
        try:
            _held_out(tags, seed, *shares)
        except ValueError:
            smaller = min((place for place in (0, 1) if shares[place]), key=shares.__getitem__)
            shares[smaller] = round(shares[smaller] + 0.01, 2)
        else:
            return shares[0], shares[1]
    return None


def folds(rows: list[LabelRow], groups: Mapping[str, str], *, count: int, seed: int) -> list[int]:
    """Shares labelled rows out over `count` folds, stratified by label, whole groups at a time.

    The folds are of nearly one size. It is scikit-learn's `StratifiedGroupKFold`; another `seed` gives other
    folds. `groups` is as in `assign`. Returns the fold of each row, 0 to `count` - 1.

    Raises:
        UserError: a label has fewer groups than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    names = [groups.get(row.guid, row.guid) for row in rows]
    tags = _tags(rows, names)
    label, fewest = min(Counter(tags.values()).items(), key=lambda item: (item[1], item[0]))
    if fewest < count:
        raise UserError(
            f"{count} folds: the label {label!r} has {fewest} groups of samples: expected one for each fold; "
            f"{fewest} folds or fewer would do"
        )
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    found = [0] * len(rows)
    for fold, (_, chosen) in enumerate(splitter.split(rows, [row.tag for row in rows], names)):
        for place in chosen:
            found[place] = fold
    return found


def table(
    labelled: list[LabelRow],
    parts: list[str],
    predict: list[LabelRow],
    groups: Mapping[str, str],
    no_input: Collection[str] = (),
) -> pd.DataFrame:
    """The split table: labelled rows, then the rows to predict (label empty), in file order.

    `parts` has the part of each labelled row, and `groups` maps guids to the names of their groups; a row
    that stands alone is its own. Of the rows to predict with a guid in `no_input` nothing is usable.
    """
    rows = [(row.guid, row.tag, part) for row, part in zip(labelled, parts, strict=True)]
    rows += [(row.guid, "", "no_input" if row.guid in no_input else "predict") for row in predict]
    named = [(*row, groups.get(row[0], row[0])) for row in rows]
    return pd.DataFrame(named, columns=COLUMNS, dtype=str)


def reassign(splits: pd.DataFrame, *, seed: int, val_size: float, test_size: float) -> pd.DataFrame:
    """The same table with the rows for train, val and test assigned anew, as `assign` does with `seed`."""
    used = splits["split"].isin(USED_PARTS)
    rows = [LabelRow(guid, tag) for guid, tag in splits.loc[used, ["guid", "label"]].to_numpy()]
    groups = dict(zip(splits["guid"], splits["group"], strict=True))
    out = splits.copy()
    out.loc[used, "split"] = assign(rows, groups, seed=seed, val_size=val_size, test_size=test_size)
    return out


def counts(splits: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Part -> label -> number of samples, without zeros; samples to predict are `unlabelled`."""
    found = {}
    for part in PARTS:
        labels = splits.loc[splits["split"] == part, "label"].replace("", "unlabelled")
        if len(labels):
            found[part] = dict(sorted(Counter(labels).items()))
    return found


def read(path: Path) -> pd.DataFrame:
    """Reads a split table; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _tags(rows: list[LabelRow], names: list[str]) -> dict[str, str]:
    """Group -> its most frequent label, in the order of the groups' first rows."""
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, name in zip(rows, names, strict=True):
        labels[name][row.tag] += 1
    return {name: min(found, key=lambda tag: (-found[tag], tag)) for name, found in labels.items()}
