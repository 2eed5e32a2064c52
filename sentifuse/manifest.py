"""Which samples there are, where their files lie and what is in them.

The raw layout is that of the course's data: `ROOT/data/{guid}.jpg|.jpeg|.png|.webp`,
`ROOT/data/{guid}.txt`, and the label files `ROOT/train.txt` and `ROOT/test_without_label.txt`, both
with a header `guid,tag`; the tag of an unlabelled row is `null`.

The manifest is sorted by guid and knows neither labels nor splits: it changes only when the files do.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image, UnidentifiedImageError

from sentifuse.errors import UserError
from sentifuse.files import sha256, write_text

TRAIN_FILE = "train.txt"
PREDICT_FILE = "test_without_label.txt"
UNLABELLED = "null"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COLUMNS = ["guid", "image", "text", "image_sha256", "text_sha256"]

# A guid names a file: nothing that could lead out of ROOT/data.
_GUID = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]*")
_PROBLEMS_SHOWN = 10


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file; `tag` is `null` where the label is to be predicted."""

    guid: str
    tag: str


def read_label_rows(path: Path) -> list[LabelRow]:
    """Reads a label file in file order.

    Raises:
        UserError: the file is missing, is not text, lacks the header, or a row has not two fields.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected rows `guid,tag`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        records = [(reader.line_num, fields) for fields in reader if fields]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None
    if not records or [field.strip() for field in records[0][1]] != ["guid", "tag"]:
        first = ",".join(records[0][1]) if records else ""
        raise UserError(f"{path}: line 1: {first!r}: expected the header `guid,tag`")
    for line, fields in records:
        if len(fields) != 2:
            raise UserError(f"{path}: line {line}: {fields!r}: expected `guid,tag`")
    return [LabelRow(guid.strip(), tag.strip()) for _, (guid, tag) in records[1:]]


def read_labels(root: Path, labels: tuple[str, ...]) -> tuple[list[LabelRow], list[LabelRow]]:
    """Reads and checks both label files of `root`.

    Args:
        labels: the tags that a labelled row may have.

    Returns:
        The labelled rows and the rows to predict, each in file order. A missing
        `test_without_label.txt` means that there is nothing to predict.

    Raises:
        UserError: a duplicate or unsafe guid, an unknown tag, a label without rows; it lists them.
    """
    if not root.is_dir():
        raise UserError(f"data.root: {str(root)!r}: no such folder")
    labelled = read_label_rows(root / TRAIN_FILE)
    predict_path = root / PREDICT_FILE
    predict = read_label_rows(predict_path) if predict_path.exists() else []

    problems = []
    seen: set[str] = set()
    for name, rows in ((TRAIN_FILE, labelled), (PREDICT_FILE, predict)):
        for row in rows:
            if not _GUID.fullmatch(row.guid):
                problems.append(f"{name}: guid {row.guid!r} is not a plain file name")
            elif row.guid in seen:
                problems.append(f"{name}: guid {row.guid} stands twice")
            seen.add(row.guid)
    for row in labelled:
        if row.tag not in labels:
            known = ", ".join(labels)
            problems.append(f"{TRAIN_FILE}: guid {row.guid}: tag {row.tag!r} is not one of {known}")
    for row in predict:
        if row.tag != UNLABELLED:
            problems.append(f"{PREDICT_FILE}: guid {row.guid}: tag {row.tag!r}, not {UNLABELLED}")
    tags = {row.tag for row in labelled}
    problems += [
        f"{TRAIN_FILE}: no row has the label {label!r}" for label in labels if label not in tags
    ]
    raise_problems(root, problems)
    return labelled, predict


def build(root: Path, guids: list[str]) -> pd.DataFrame:
    """Finds and hashes the two files of every guid.

    Returns:
        A row a sample, sorted by guid, with `COLUMNS`; paths are relative to the working folder.

    Raises:
        UserError: files that are missing, empty or not an image; it lists them.
    """
    rows, problems = [], []
    for guid in sorted(guids):
        image_path = _image_path(root, guid)
        text_path = root / "data" / f"{guid}.txt"
        image = image_path.read_bytes() if image_path else None
        text = text_path.read_bytes() if text_path.is_file() else None
        found = _image_problem(image)
        if found:
            problems.append(f"guid {guid}: {image_path or root / 'data' / guid}: {found}")
        if text is None:
            problems.append(f"guid {guid}: {text_path}: no such text file")
        if image_path and image and text is not None:
            rows.append(
                (guid, image_path.as_posix(), text_path.as_posix(), sha256(image), sha256(text))
            )
    raise_problems(root, problems)
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def write(manifest: pd.DataFrame, path: Path) -> None:
    """Writes `manifest` as CSV."""
    write_text(path, manifest.to_csv(index=False, lineterminator="\n"))


def read(path: Path) -> pd.DataFrame:
    """Reads what `write` wrote; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def raise_problems(root: Path, problems: list[str]) -> None:
    """Raises one `UserError` that counts `problems` and lists the first of them."""
    if not problems:
        return
    shown = "; ".join(problems[:_PROBLEMS_SHOWN])
    more = len(problems) - _PROBLEMS_SHOWN
    tail = f"; and {more} more" if more > 0 else ""
    raise UserError(f"{root}: {len(problems)} bad rows: {shown}{tail}")


def _image_path(root: Path, guid: str) -> Path | None:
    candidates = (root / "data" / f"{guid}{suffix}" for suffix in IMAGE_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _image_problem(raw: bytes | None) -> str | None:
    if raw is None:
        return f"no image file ({', '.join(IMAGE_SUFFIXES)})"
    if not raw:
        return "the image file is empty"
    try:
        Image.open(io.BytesIO(raw)).close()
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        return f"not an image that can be read ({error})"
    return None
