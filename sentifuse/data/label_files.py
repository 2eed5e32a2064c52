"""The label files of the course's layout: which samples there are, and their tags.

`ROOT/train.txt` and `ROOT/test_without_label.txt`, UTF-8 with or without a byte order mark, any line ends,
comma-separated with a header `guid,tag`; the tag of an unlabelled row is `null`. A file that is written
otherwise is refused as a whole; a bad row is listed, and the others are read.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from sentifuse.data import label_rows
from sentifuse.data.label_rows import FoundRow, LabelTable
from sentifuse.errors import UserError

TRAIN_FILE = "train.txt"
PREDICT_FILE = "test_without_label.txt"
HEADER = ["guid", "tag"]


def read(root: Path, labels: Sequence[str]) -> LabelTable:
    """Reads and checks both label files of `root`, as `label_rows.table` does.

    A missing `test_without_label.txt` means that there is nothing to predict.

    Raises:
        UserError: a file that is not a label file or lies elsewhere, or a row to predict with a NUL.
    """
    train_path, predict_path = root / TRAIN_FILE, root / PREDICT_FILE
    for path in (train_path, predict_path):
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{path}: a link out of {root}: put the file itself there")
    train = read_rows(train_path)
    predict = read_rows(predict_path) if predict_path.exists() else []
    return label_rows.table(train, predict, labels)


def read_rows(path: Path) -> list[FoundRow]:
    """The rows in file order; one that does not have two fields has the first as its guid, and no tag.

    Raises:
        UserError: the file is missing, is not text, lacks the header, or is no CSV.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected rows `guid,tag`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; expected a file of rows `guid,tag`") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        records = [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None
    first = records[0][1] if records else []
    if [field.strip() for field in first] != HEADER:
        found = ",".join(first)[:100]
        hint = next((f", separated by {char!r}" for char in "\t;|" if char in found), "")
        raise UserError(f"{path}: line 1: {found!r}{hint}: expected the header `guid,tag`")
    rows = []
    for line, fields in records[1:]:
        wrong = ("", "")
        if len(fields) != 2:
            wrong = ("row without two fields", f"line {line}: {','.join(fields)[:100]!r}")
        tag = fields[1].strip() if len(fields) == 2 else ""
        rows.append(FoundRow(fields[0].strip(), tag, str(path), wrong))
    return rows
