"""The label files: which samples there are, and their tags.

`ROOT/train.txt` and `ROOT/test_without_label.txt`, UTF-8 with or without a byte order mark, any line ends,
comma-separated with a header `guid,tag`; the tag of an unlabelled row is `null`. A file that is written
otherwise is refused as a whole; a bad row is listed, and the others are read.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from sentifuse.data.bad_samples import Problem
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError

TRAIN_FILE = "train.txt"
PREDICT_FILE = "test_without_label.txt"
UNLABELLED = "null"
HEADER = ["guid", "tag"]

# A guid names a file: nothing that could lead out of ROOT/data.
_GUID = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]*")
# Does not come back from the CSV files of the stages behind.
_NUL = "\0"
# What a file system takes for a name, with the longest suffix.
_MAX_GUID = 250


@dataclass(frozen=True)
class LabelTable:
    """What the label files of a data set say, in file order.

    Attributes:
        train_rows: how many rows `train.txt` has.
        labelled: the rows to train and evaluate on: sound ones with a known tag.
        predict: the rows to predict, sound or not; a guid may stand in several.
        problems: all that is wrong.
    """

    train_rows: int
    labelled: list[LabelRow]
    predict: list[LabelRow]
    problems: list[Problem]


def is_safe(guid: str) -> bool:
    """Whether files may be looked for under this name: it cannot lead out of a folder."""
    return len(guid) <= _MAX_GUID and _GUID.fullmatch(guid) is not None


def read(root: Path, labels: tuple[str, ...]) -> LabelTable:
    """Reads and checks both label files of `root`.

    A labelled row is left out if its guid is unsafe, stands in an earlier row or in the rows to predict,
    or has other tags elsewhere, and if its tag is not in `labels`. A missing `test_without_label.txt` means
    that there is nothing to predict.

    Args:
        root: the data set.
        labels: the tags that a labelled row may have.

    Raises:
        UserError: no such folder, a file that is not a label file or lies elsewhere, or a row to predict
            with a NUL, which no CSV file can hold.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {str(root)!r}: no such folder")
    train_path, predict_path = root / TRAIN_FILE, root / PREDICT_FILE
    for path in (train_path, predict_path):
        if not path.resolve().is_relative_to(root.resolve()):
            raise UserError(f"{path}: a link out of {root}: put the file itself there")
    train, malformed = read_rows(train_path)
    problems = list(malformed.values())
    predict: list[LabelRow] = []
    if predict_path.exists():
        predict, more = read_rows(predict_path)
        problems += more.values()
        seen: set[str] = set()
        for row in predict:
            problems += _predict_problems(row, predict_path, seen)
            seen.add(row.guid)
    tags: dict[str, set[str]] = {}
    for row in train:
        tags.setdefault(row.guid, set()).add(row.tag)
    to_predict = {row.guid for row in predict}
    labelled: dict[str, LabelRow] = {}
    for index, row in enumerate(train):
        if index in malformed:
            continue
        reason, detail = _labelled_problem(row, labels, tags, to_predict, labelled)
        if reason:
            problems.append(Problem(row.guid, str(train_path), reason, detail))
        else:
            labelled[row.guid] = row
    return LabelTable(len(train), list(labelled.values()), predict, problems)


def check_labels(root: Path, rows: list[LabelRow], labels: tuple[str, ...]) -> None:
    """Checks that every label has a row to learn from.

    Raises:
        UserError: one has none.
    """
    tags = {row.tag for row in rows}
    lacking = [label for label in labels if label not in tags]
    if lacking:
        raise UserError(
            f"labels: {list(labels)}: {root / TRAIN_FILE} has no usable row with the tag "
            f"{', '.join(map(repr, lacking))}; there are: {', '.join(map(repr, sorted(tags))) or 'none'}"
        )


def read_rows(path: Path) -> tuple[list[LabelRow], dict[int, Problem]]:
    """Reads one label file.

    Returns:
        The rows in file order; and, by their places, what is wrong with those that have not two fields:
        their first field is taken for the guid, the tag is empty.

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
    rows, malformed = [], {}
    for place, (line, fields) in enumerate(records[1:]):
        guid, tag = fields[0].strip(), fields[1].strip() if len(fields) == 2 else ""
        rows.append(LabelRow(guid, tag))
        if len(fields) != 2:
            detail = f"line {line}: {','.join(fields)[:100]!r}"
            malformed[place] = Problem(guid, str(path), "row without two fields", detail)
    return rows, malformed


def _predict_problems(row: LabelRow, path: Path, seen: set[str]) -> list[Problem]:
    if _NUL in row.guid:  # left out, it would make the submission one row shorter than the file
        raise UserError(f"{path}: guid {row.guid!r}: a NUL character; remove it")
    found = []
    if not is_safe(row.guid):
        found.append(Problem(row.guid, str(path), *_unsafe(row.guid)))
    if row.guid in seen:
        found.append(Problem(row.guid, str(path), "guid stands twice"))
    if row.tag not in (UNLABELLED, ""):
        found.append(
            Problem(
                row.guid, str(path), "tag in a row to predict", f"{row.tag!r}, not {UNLABELLED}"
            )
        )
    return found


def _labelled_problem(
    row: LabelRow,
    labels: tuple[str, ...],
    tags: dict[str, set[str]],
    to_predict: set[str],
    earlier: dict[str, LabelRow],
) -> tuple[str, str]:
    """Reason and detail; both empty for a sound row."""
    if not is_safe(row.guid):
        return _unsafe(row.guid)
    if row.guid in to_predict:
        return "guid stands in both label files", ""
    if len(tags[row.guid]) > 1:
        return "guid stands twice with different tags", f"{row.tag!r}"
    if row.guid in earlier:
        return "guid stands twice", ""
    if row.tag in (UNLABELLED, "") and row.tag not in labels:
        return "no tag", f"{row.tag!r}: expected one of {', '.join(labels)}"
    if row.tag not in labels:
        return "unknown tag", f"{row.tag[:100]!r} is not one of {', '.join(labels)}"
    return "", ""


def _unsafe(guid: str) -> tuple[str, str]:
    return "guid is not a plain file name", "letters, digits, `_`, `-` and `.` are"
