"""How the labelled rows are split: once, into k folds, or as a published split has it.

A split is a list of folds, one or several, each with a part for every row.
"""

from collections.abc import Mapping, Sequence

from sentifuse.config.recipe import Split
from sentifuse.data import published_splits, splits
from sentifuse.data.published_splits import Fold
from sentifuse.data.splits import LabelRow


def make(
    rows: list[LabelRow],
    groups: Mapping[str, str],
    how: Split,
    published: Sequence[Fold],
    source: str,
) -> list[list[str]]:
    """The part of each labelled row, for each fold.

    Args:
        rows: labelled rows.
        groups: guid -> name of its group; a guid that it lacks stands alone.
        how: how to split, where nothing is published.
        published: the folds of a published split, if there is one.
        source: where they come from, for errors.

    Raises:
        UserError: a label has too few groups, or a published fold lacks train or test.
    """
    if published:
        return [
            published_splits.assign(
                f"{source}: fold {number}" if len(published) > 1 else source,
                rows,
                groups,
                fold,
                seed=how.seed,
                val_size=how.val_size,
            )
            for number, fold in enumerate(published)
        ]
    if how.folds:
        numbers = splits.folds(rows, groups, count=how.folds, seed=how.seed)
        return [_parts(numbers, test, how.folds) for test in range(how.folds)]
    return [
        splits.assign(rows, groups, seed=how.seed, val_size=how.val_size, test_size=how.test_size)
    ]


def _parts(numbers: Sequence[int], test: int, count: int) -> list[str]:
    """Of folds with `numbers`, `test` is the test part, the next one validation, the others train."""
    names = {test: "test", (test + 1) % count: "val"}
    return [names.get(number, "train") for number in numbers]
