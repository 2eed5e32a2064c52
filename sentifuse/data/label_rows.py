"""Rows with labels, from whichever layout: which of them are sound, and what is wrong with the others."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sentifuse.data.bad_samples import Problem
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError

UNLABELLED = "null"

# A guid names files and stands in CSV files: nothing that could lead out of a folder.
_GUID = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]*")
# A file system takes no longer name, with the longest suffix.
_MAX_GUID = 250
_UNSAFE = ("guid is not a plain file name", "letters, digits, `_`, `-` and `.` are")


class FoundRow(NamedTuple):
    """A row as it was found.

    Attributes:
        guid: as it stands there.
        tag: the label; empty or `null` where there is none.
        file: where the row stands, for messages.
        wrong: reason and detail of what is wrong with the row as such; empty for nothing.
    """

    guid: str
    tag: str
    file: str
    wrong: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class LabelTable:
    """What a data set lists, in file order."""

    train_rows: int  # how many labelled rows there are, sound or not
    labelled: list[LabelRow]  # to train and evaluate on: sound ones with a known tag
    predict: list[LabelRow]  # sound or not; a guid may stand in several
    problems: list[Problem]


def is_safe(guid: str) -> bool:
    """Whether files may be looked for under this name: it cannot lead out of a folder."""
    return len(guid) <= _MAX_GUID and _GUID.fullmatch(guid) is not None


def table(
    train: Sequence[FoundRow], predict: Sequence[FoundRow], labels: Sequence[str]
) -> LabelTable:
    """Checks labelled rows and rows to predict.

    A labelled row is left out if its guid is unsafe, stands in an earlier row or in the rows to predict,
    or has other tags elsewhere, and if its tag is not in `labels`.

    Raises:
        UserError: a row to predict with a NUL, which no CSV file can hold.
    """
    problems = [
        Problem(row.guid, row.file, *row.wrong) for row in (*train, *predict) if row.wrong[0]
    ]
    problems += _predict_problems(predict)
    labelled: list[LabelRow] = []
    reasons = _labelled_reasons(train, {row.guid for row in predict}, labels)
    for row, (reason, detail) in zip(train, reasons, strict=True):
        if not reason:
            labelled.append(LabelRow(row.guid, row.tag))
        elif not row.wrong[0]:
            problems.append(Problem(row.guid, row.file, reason, detail))
    return LabelTable(
        len(train), labelled, [LabelRow(row.guid, row.tag) for row in predict], problems
    )


def check_labels(source: str, rows: Sequence[LabelRow], labels: Sequence[str]) -> None:
    """Raises a UserError if a label has no row to learn from; `source` is the file that should have some."""
    tags = {row.tag for row in rows}
    lacking = [label for label in labels if label not in tags]
    if lacking:
        raise UserError(
            f"labels: {list(labels)}: {source} has no usable row with the tag "
            f"{', '.join(map(repr, lacking))}; there are: {', '.join(map(repr, sorted(tags))) or 'none'}"
        )


def _predict_problems(rows: Sequence[FoundRow]) -> Iterator[Problem]:
    seen: set[str] = set()
    for row in rows:
        if "\0" in row.guid:  # left out, it would make the submission one row shorter than the file
            raise UserError(f"{row.file}: guid {row.guid!r}: a NUL character; remove it")
        if not is_safe(row.guid):
            yield Problem(row.guid, row.file, *_UNSAFE)
        if row.guid in seen:
            yield Problem(row.guid, row.file, "guid stands twice")
        if row.tag not in (UNLABELLED, ""):
            detail = f"{row.tag!r}, not {UNLABELLED}"
            yield Problem(row.guid, row.file, "tag in a row to predict", detail)
        seen.add(row.guid)


def _labelled_reasons(
    rows: Sequence[FoundRow], to_predict: Collection[str], labels: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """For each row the reason to leave it out, and a detail; both are empty for a sound row."""
    tags: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        tags[row.guid].add(row.tag)
    sound: set[str] = set()
    for row in rows:
        if row.wrong[0]:
            yield row.wrong
        elif not is_safe(row.guid):
            yield _UNSAFE
        elif row.guid in to_predict:
            yield "guid is also to be predicted", ""
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
