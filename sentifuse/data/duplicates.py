"""Samples that are the same picture or the same text.

Two samples are linked if their image files are equal, if their pictures are nearly identical (close
perceptual hashes), or if their cleaned texts are equal. Groups are the connected components.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# In bits: a coefficient of the hash may lie close to the median. Of 400 pictures of MVSA-Single, saved
# again at JPEG quality 60 or scaled to .8 or .5, 86 to 92 % have an equal hash, and over 99 % one that close.
# Among its 4,000 labelled pictures 137 pairs are that close, 134 of them equal. Variants of one product's
# picture differ in 4 or 6 bits, other pictures in 8 or more. With dHash different pictures differ in 3.
MAX_DISTANCE = 2

# Kind of link -> the column whose equal values make it; an empty value links nothing.
LINKS = {"image_file": "image_sha256", "near_identical_image": "image_hash", "text": "clean_text"}
COLUMNS = ["guid", "group", "label", "split", "image", *LINKS.values()]


def find(samples: pd.DataFrame) -> pd.DataFrame:
    """Groups samples with the columns of `inspection.COLUMNS`; the order of the rows changes no group.

    Returns:
        One row per sample, in the same order: `guid`, `group` (the smallest guid in it, in string order),
        `image`, and the columns of `LINKS`, where near-identical pictures have one `image_hash`.
    """
    found = samples[["guid", "image", *LINKS.values()]].reset_index(drop=True)
    found["image_hash"] = merge_close(list(found["image_hash"]))
    row = pd.Series(np.arange(len(found)))
    links = []
    for column in LINKS.values():
        keys = found.loc[found[column] != "", column]
        # Every row is linked to the first one with its key.
        first = row[keys.index].groupby(keys).transform("min")
        links.append(np.column_stack([first.index, first]))
    group = _components(np.concatenate(links), len(found))
    return found.assign(group=found.groupby(group)["guid"].transform("min"))


def merge_close(hashes: Sequence[str]) -> list[str]:
    """Replaces hashes that are `MAX_DISTANCE` bits or less apart, directly or by a chain, by one of them.

    Two hashes of 64 bits that differ in two at most agree in two of their four blocks of 16, so it is
    enough to compare those that agree in two blocks: linear in the number of hashes as long as few do
    (multi-index hashing, Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing").

    Each hash, of 16 hexadecimal digits, becomes the smallest of its cluster; an empty one stays empty.
    """
    names = sorted(set(hashes) - {""})
    bits = np.array([int(name, 16) for name in names], dtype=np.uint64)
    blocks = [bits >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    links = []
    for first, second in combinations(blocks, 2):
        table = pd.DataFrame({"key": first << np.uint64(16) | second, "row": np.arange(len(bits))})
        pairs = table.merge(table, on="key")[["row_x", "row_y"]].to_numpy()
        distance = np.bitwise_count(bits[pairs[:, 0]] ^ bits[pairs[:, 1]])
        links.append(pairs[distance <= MAX_DISTANCE])
    clusters = _components(np.concatenate(links), len(bits))
    smallest = pd.Series(names, dtype=str).groupby(clusters).transform("min")
    merged = dict(zip(names, smallest, strict=True))
    return [merged.get(name, "") for name in hashes]


def table(found: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """Those samples of `find` that are in groups of two or more, to look at: `COLUMNS`, group by group."""
    rows = _shared(_joined(found, splits), "group")
    return rows[COLUMNS].sort_values(["group", "guid"], ignore_index=True)


def read(path: Path) -> pd.DataFrame:
    """Reads a `table`; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def report(
    found: pd.DataFrame, folds: Sequence[pd.DataFrame], ungrouped: Sequence[pd.DataFrame]
) -> dict[str, Any]:
    """Counts duplicates, and what they would do and do to the evaluation.

    Args:
        found: what `find` returned.
        folds: the split table of each fold; one for a single split.
        ungrouped: the same of the split that ignores groups, with the same seed; none for a published split.

    Returns:
        `groups` are those of two or more, and `label_agreement` is the share of linked pairs with one label
        (None without a pair). `twins_in_train` has the samples of validation and of test, summed over the
        folds: how many there are, how many of them have one of their group in train (`with_twin`), and how
        many are linked to a sample in train by each kind of link. All are over labelled samples only, but
        `groups_with_unlabelled`, which have labelled samples and samples to predict.
    """
    rows = _joined(found, folds[0])
    is_labelled = rows["split"] != "predict"
    labelled = rows[is_labelled]
    members = _shared(labelled, "group")
    spanning = set(labelled["group"]) & set(rows.loc[~is_labelled, "group"])
    return {
        "groups": members["group"].nunique(),
        "samples": len(members),
        "samples_by_link": {kind: len(_shared(labelled, key)) for kind, key in LINKS.items()},
        "label_agreement": {kind: _agreement(labelled, key) for kind, key in LINKS.items()},
        "groups_with_different_labels": int(
            (members.groupby("group")["label"].nunique() > 1).sum()
        ),
        "twins_in_train": {
            name: _twins_in_train([_joined(found, table) for table in tables])
            for name, tables in (("ungrouped_split", ungrouped), ("this_split", folds))
            if tables
        },
        "groups_with_unlabelled": len(spanning),
    }


def summary(report: dict[str, Any]) -> str:
    """What `report` found, in one line."""
    twins = {
        name: sum(counts["with_twin"] for counts in parts.values())
        for name, parts in report["twins_in_train"].items()
    }
    told = (
        f"duplicates: {report['groups']} groups of {report['samples']} labelled samples, "
        f"{report['groups_with_different_labels']} with different labels; "
        f"{twins['this_split']} of validation and test have a twin in train"
    )
    if "ungrouped_split" in twins:
        told += f", {twins['ungrouped_split']} in the ungrouped split"
    return told


def _components(links: NDArray[np.intp], count: int) -> NDArray[np.int32]:
    """The number of the connected component of each of `count` rows; `links` (L, 2) holds pairs of rows."""
    graph = coo_array((np.ones(len(links)), links.T), shape=(count, count))
    numbers: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return numbers


def _joined(found: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    """`found` with label and part. The table's own groups are left out: a plain split has none."""
    # The test file may name a sample twice.
    rows = splits[["guid", "label", "split"]].drop_duplicates("guid")
    return found.merge(rows, on="guid", validate="one_to_one")


def _shared(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """The rows whose value in `column` is not empty and stands in another row, too."""
    return rows[(rows[column] != "") & rows[column].duplicated(keep=False)]


def _agreement(rows: pd.DataFrame, column: str) -> float | None:
    """The share, 0..1, of the pairs with one value in `column` that have one label."""
    same = _shared(rows, column).groupby([column, "label"]).size()
    linked = same.groupby(level=0).sum()
    pairs = int((linked * (linked - 1) // 2).sum())
    return int((same * (same - 1) // 2).sum()) / pairs if pairs else None


def _twins_in_train(folds: Sequence[pd.DataFrame]) -> dict[str, dict[str, int]]:
    """Part -> kind of link -> samples that are linked to one in train, over all folds."""
    counts = {part: Counter[str]() for part in ("val", "test")}
    for rows in folds:
        train = rows[rows["split"] == "train"]
        for part, count in counts.items():
            own = rows[rows["split"] == part]
            count["samples"] += len(own)
            for kind, key in {"with_twin": "group", **LINKS}.items():
                count[kind] += int((own[key].isin(train[key]) & (own[key] != "")).sum())
    return {part: dict(count) for part, count in counts.items()}
