"""The layouts of raw data, and which one a folder has.

- a table: `samples.csv`, `samples.jsonl`, or one or more Parquet files (`tables`);
- tar shards: one or more `.tar` files (`tar_shards`);
- that of the course: `train.txt` and a folder of files (`course_layout`).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sentifuse.config.recipe import Columns
from sentifuse.data import course_layout, label_files, records, tables, tar_shards
from sentifuse.data.listing import Listing
from sentifuse.data.records import Record
from sentifuse.errors import UserError

# What the files of a layout are called. Several files are read in the order of their names.
_PATTERNS = ("samples.csv", "samples.jsonl", "*.parquet", "*.tar", label_files.TRAIN_FILE)


def read(root: Path, labels: Sequence[str], columns: Columns) -> Listing:
    """Lists a data set.

    Args:
        root: its folder.
        labels: the classes.
        columns: the names of the columns of a table, and of the values in tar shards.

    Raises:
        UserError: no such folder, no files or those of several layouts, or files that cannot be read.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {str(root)!r}: no such folder")
    found = {pattern: sorted(root.glob(pattern)) for pattern in _PATTERNS}
    there = [pattern for pattern, files in found.items() if files]
    if len(there) != 1:
        told = f"there are {' and '.join(there)}: keep one" if there else "there is none"
        raise UserError(
            f"{root}: {told}; expected samples.csv, samples.jsonl, Parquet files, tar files, or "
            "train.txt (README, 'Your own data')"
        )
    files = found[there[0]]
    if there[0] == label_files.TRAIN_FILE:
        return course_layout.read(root, labels)
    for path in files:
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{path}: a link out of {root}: put the file itself there")
    read_one = tar_shards.read if there[0] == "*.tar" else tables.read
    source = str(files[0]) if len(files) == 1 else str(root / there[0])
    return records.listing(root, source, _all(files, read_one, columns), columns, labels)


def _all(
    files: Sequence[Path],
    read_one: Callable[[Path, Columns, int], Iterator[Record]],
    columns: Columns,
) -> Iterator[Record]:
    """The records of all files, numbered throughout."""
    count = 0
    for path in files:
        for record in read_one(path, columns, count):
            count += 1
            yield record
