"""The label files: which samples there are, and their tags.

`ROOT/train.txt` and `ROOT/test_without_label.txt`, UTF-8 with or without a byte order mark, any line ends,
comma-separated with a header `guid,tag`; the tag of an unlabelled row is `null`. A file that is written
otherwise is refused as a whole; a bad row is listed, and the others are read.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
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
# A file system takes no longer name, with the longest suffix.
_MAX_GUID = 250
_UNSAFE = ("guid is not a plain file name", "letters, digits, `_`, `-` and `.` are")


@dataclass(frozen=True)
class LabelTable:
    """What the label files of a data set say, in file order."""

    train_rows: int  # how many rows `train.txt` has
    labelled: list[LabelRow]  # to train and evaluate on: sound ones with a known tag
    predict: list[LabelRow]  # sound or not; a guid may stand in several
    problems: list[Problem]


def is_safe(guid: str) -> bool:
    """Whether files may be looked for under this name: it cannot lead out of a folder."""
    return len(guid) <= _MAX_GUID and _GUID.fullmatch(guid) is not None


def read(root: Path, labels: tuple[str, ...]) -> LabelTable:
    """Reads and checks both label files of `root`.

    A labelled row is left out if its guid is unsafe, stands in an earlier row or in the rows to predict,
    or has other tags elsewhere, and if its tag is not in `labels`. A missing `test_without_label.txt` means
    that there is nothing to predict.

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
        problems += [*more.values(), *_predict_problems(predict, predict_path)]
    labelled: list[LabelRow] = []
    reasons = _labelled_reasons(train, {row.guid for row in predict}, labels)
    for place, (row, (reason, detail)) in enumerate(zip(train, reasons, strict=True)):
        if not reason:
            labelled.append(row)
        elif place not in malformed:
            problems.append(Problem(row.guid, str(train_path), reason, detail))
    return LabelTable(len(train), labelled, predict, problems)


def check_labels(root: Path, rows: list[LabelRow], labels: tuple[str, ...]) -> None:
    """Raises a UserError if a label has no row to learn from."""
    tags = {row.tag for row in rows}
    lacking = [label for label in labels if label not in tags]
    if lacking:
        raise UserError(
            f"labels: {list(labels)}: {root / TRAIN_FILE} has no usable row with the tag "
            f"{', '.join(map(repr, lacking))}; there are: {', '.join(map(repr, sorted(tags))) or 'none'}"
        )


def read_rows(path: Path) -> tuple[list[LabelRow], dict[int, Problem]]:
    """The rows in file order; and place -> what is wrong, for the rows that do not have two fields.

    Of these the first field is taken for the guid, and the tag is empty.

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


def _predict_problems(rows: list[LabelRow], path: Path) -> Iterator[Problem]:
    seen: set[str] = set()
    for row in rows:
        if "\0" in row.guid:  # left out, it would make the submission one row shorter than the file
            raise UserError(f"{path}: guid {row.guid!r}: a NUL character; remove it")
        if not is_safe(row.guid):
            yield Problem(row.guid, str(path), *_UNSAFE)
        if row.guid in seen:
            yield Problem(row.guid, str(path), "guid stands twice")
        if row.tag not in (UNLABELLED, ""):
            detail = f"{row.tag!r}, not {UNLABELLED}"
            yield Problem(row.guid, str(path), "tag in a row to predict", detail)
        seen.add(row.guid)


def _labelled_reasons(
    rows: list[LabelRow], to_predict: Collection[str], labels: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    """For each row the reason to leave it out, and a detail; both are empty for a sound row."""
    tags: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        tags[row.guid].add(row.tag)
    sound: set[str] = set()
    for row in rows:
        if not is_safe(row.guid):
            yield _UNSAFE
        elif row.guid in to_predict:
            yield "guid stands in both label files", ""
        elif len(tags[row.guid]) > 1:
            yield "guid stands twice with different tags", f"{row.tag!r}"
        elif row.guid in sound:
            yield "guid stands twice", ""
        elif row.tag in labels:
            sound.add(row.guid)
            yield "", ""
        elif row.tag in (UNLABELLED, ""):
            yield "no tag", f"{row.tag!r}: expected one of {', '.join(labels)}"
        else:
            yield "unknown tag", f"{row.tag[:100]!r} is not one of {', '.join(labels)}"
