"""MVSA as its authors publish it, made into a data set that `data.root` can name.

`labelResultAll.txt` has a header and one row per pair: its id, and what each annotator said of the text and
of the image, as `1<TAB>neutral,positive`. MVSA-Single has one annotator, MVSA-Multiple has three, each with
a column of its own. The files are `data/{id}.jpg` and `data/{id}.txt` (Niu et al. 2016, "Sentiment Analysis
on Multi-View Social Data"). One label for each pair is made as by Xu and Mao 2017, "MultiSentiNet".
"""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sentifuse.data import label_rows
from sentifuse.errors import UserError, listed
from sentifuse.runtime.files import write_csv
from sentifuse.runtime.progress import progress

LABEL_FILE = "labelResultAll.txt"
NEGATIVE, NEUTRAL, POSITIVE = LABELS = ("negative", "neutral", "positive")
SAMPLES, LEFT_OUT = "samples.csv", "left_out.csv"

NO_MAJORITY = "no majority of annotators"
OPPOSITE = "text and image have opposite labels"
_PAIR = "text,image"


class Annotated(NamedTuple):
    """One row of the label file: the label of each modality, empty if no majority gave the same one."""

    id: str
    text_label: str
    image_label: str


class Sample(NamedTuple):
    """One row of `samples.csv`; the paths are relative to it."""

    id: str
    image: str
    text_file: str
    label: str
    text_label: str
    image_label: str


class LeftOut(NamedTuple):
    """One row of `left_out.csv`: a pair that has no label, or lacks a file."""

    id: str
    reason: str
    text_label: str
    image_label: str


@dataclass(frozen=True)
class Imported:
    """What an import found, in the order of the label file."""

    annotators: int
    samples: list[Sample]
    left_out: list[LeftOut]


def majority(votes: Sequence[str]) -> str:
    """What more than half of the annotators say; empty if they do not agree so far."""
    label, count = Counter(votes).most_common(1)[0]
    return label if 2 * count > len(votes) else ""


def merge(text_label: str, image_label: str) -> str:
    """The label of a pair: equal ones stay, neutral gives way to the other; empty if they are opposite."""
    signs = {text_label, image_label} - {NEUTRAL}
    return "" if len(signs) > 1 else "".join(signs) or NEUTRAL


def read_labels(path: Path) -> tuple[int, list[Annotated]]:
    """The number of annotators, and the rows of a label file.

    Raises:
        UserError: the file is missing, is not UTF-8, has another header or no rows; or rows with another
            number of fields, an unknown label, an id that is no plain file name or that an earlier row has.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: expected the label file of MVSA") from None
    annotators = _annotators(path, lines[0])
    rows: list[Annotated] = []
    mistakes: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        guid, *pairs = (field.strip() for field in line.strip().split("\t"))
        votes = [tuple(label.strip() for label in pair.split(",")) for pair in pairs]
        if wrong := "; ".join(_mistakes(guid, votes, annotators, seen)):
            mistakes.append(f"line {number}: {line[:100]!r}: {wrong}")
            continue
        seen[guid] = number
        text_votes, image_votes = zip(*votes, strict=True)
        rows.append(Annotated(guid, majority(text_votes), majority(image_votes)))
    if mistakes:
        raise UserError(f"{path}: {listed(mistakes)}")
    if not rows:
        raise UserError(f"{path}: no rows below the header")
    return annotators, rows


def import_to(folder: Path, out: Path) -> Imported:
    """Writes `out/samples.csv`, `out/left_out.csv` and `out/data` from MVSA in `folder`.

    Image and text are hard links to the published files, or copies where the file system allows no link:
    the same bytes, whatever their encoding. `samples.csv` is written last.

    Args:
        folder: has the label file and `data`, or a folder that has both.
        out: a new or an empty folder.

    Raises:
        UserError: no such data set, a bad label file, no pair with both files, or an `out` with files in it.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not an empty folder: name a new one")
    source = _find(folder)
    annotators, rows = read_labels(source / LABEL_FILE)
    files = _files(source / "data")
    reasons = [_reason(row, files) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
    if not kept:
        counted = ", ".join(f"{reason}: {count}" for reason, count in Counter(reasons).items())
        raise UserError(f"{source}: none of {len(rows)} rows can be used ({counted})")
    (out / "data").mkdir(parents=True, exist_ok=True)
    with progress("link or copy files", len(kept), "samples") as shown:
        for row in kept:
            for name in _names(row):
                _link_or_copy(files[name][0], out / "data" / name)
            shown.advance(1)
    samples = [_sample(row) for row in kept]
    left_out = [
        LeftOut(row.id, reason, row.text_label, row.image_label)
        for row, reason in zip(rows, reasons, strict=True)
        if reason
    ]
    _write(out / LEFT_OUT, LeftOut._fields, left_out)
    _write(out / SAMPLES, Sample._fields, samples)
    return Imported(annotators, samples, left_out)


def _annotators(path: Path, header: str) -> int:
    """How many columns of annotators the header of a label file has."""
    names = header.lower().replace(" ", "").strip().split("\t")
    annotators = len(names) - 1
    if annotators not in (1, 3) or names != ["id", *[_PAIR] * annotators]:
        raise UserError(
            f"{path}: line 1: {header[:100]!r}: expected the header 'ID\\t{_PAIR}', with one `{_PAIR}` "
            "(MVSA-Single) or three (MVSA-Multiple)"
        )
    return annotators


def _mistakes(
    guid: str, votes: Sequence[tuple[str, ...]], annotators: int, seen: Mapping[str, int]
) -> Iterator[str]:
    """What is wrong with a row of the label file; `seen` has the line of each id above it."""
    if not label_rows.is_safe(guid):
        yield f"the id {guid[:100]!r} is not a plain file name"
    if guid in seen:
        yield f"the id {guid!r} stands in line {seen[guid]}, too"
    if len(votes) != annotators:
        yield f"{1 + len(votes)} fields, where the header has {1 + annotators}"
    for vote in votes:
        if len(vote) != 2:
            yield f"{','.join(vote)[:100]!r} is not a pair `{_PAIR}`"
        yield from (
            f"{label[:100]!r} is not one of {', '.join(LABELS)}"
            for label in vote
            if label not in LABELS
        )


def _find(folder: Path) -> Path:
    """`folder`, or the one folder in it, that has the label file beside `data`."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: expected MVSA as its authors publish it")
    found = [
        place for place in (folder, *sorted(folder.iterdir())) if (place / LABEL_FILE).is_file()
    ]
    if not found:
        raise UserError(
            f"{folder}: no {LABEL_FILE} in it, nor in a folder of it: expected MVSA as its authors publish "
            "it: this file beside a folder `data`"
        )
    if len(found) > 1 and found[0] != folder:
        raise UserError(f"{folder}: several data sets: name one: {', '.join(map(str, found))}")
    if not (found[0] / "data").is_dir():
        raise UserError(f"{found[0]}: no folder `data` beside {LABEL_FILE}: the pairs are in it")
    return found[0]


def _files(data: Path) -> dict[str, list[Path]]:
    """Name, with its suffix in lower case, -> the files of this name; Windows may have written `1.JPG`."""
    found = defaultdict(list)
    for path in sorted(data.iterdir()):
        if path.is_file():
            found[path.stem + path.suffix.lower()].append(path)
    return found


def _names(row: Annotated) -> tuple[str, str]:
    """Of the image and of the text."""
    return f"{row.id}.jpg", f"{row.id}.txt"


def _reason(row: Annotated, files: Mapping[str, Sequence[Path]]) -> str:
    """Why a pair is left out; empty for one that is not."""
    if not row.text_label or not row.image_label:
        return NO_MAJORITY
    if not merge(row.text_label, row.image_label):
        return OPPOSITE
    for what, name in zip(("image", "text"), _names(row), strict=True):
        if name not in files:
            return f"no {what} file"
        if len(files[name]) > 1:
            return "files that differ in case only"
    return ""


def _sample(row: Annotated) -> Sample:
    image, text = (f"data/{name}" for name in _names(row))
    label = merge(row.text_label, row.image_label)
    return Sample(row.id, image, text, label, row.text_label, row.image_label)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        # Of what a link leads to: a link must not lead out of `out`.
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)


def _write(path: Path, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    import pandas as pd

    write_csv(path, pd.DataFrame(rows, columns=list(columns), dtype=str))
