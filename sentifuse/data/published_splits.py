"""Published splits: somebody else's choice of the samples for train, val and test, one for each fold.

A split file is UTF-8, with or without a byte order mark, and in one of two forms:

- CSV with the columns `id` (or `guid`), `split`, and, for several folds, `fold`, a whole number;
- JSON: `{"train": [ids], "val": [ids], "test": [ids]}`, or a list of such objects, one for each fold.

`valid`, `validation` and `dev` are other names of `val`. Without it, a share of train becomes validation.
"""

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sentifuse.data import splits
from sentifuse.data.bad_samples import shown
from sentifuse.data.splits import UNUSED, LabelRow
from sentifuse.errors import UserError, listed

# What a part may be called -> the part.
NAMES = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_EXPECTED = "expected train, val (or valid, validation, dev) or test"

# guid -> `train`, `val` or `test`, of one fold.
Fold = Mapping[str, str]


class _Entry(NamedTuple):
    """What a file says of one id; `where` it stands is told in errors."""

    where: str
    fold: int
    guid: str
    split: str


def read(path: Path) -> list[Fold]:
    """Reads a split file.

    Returns:
        Its folds in the order of their numbers or of the list: one for a file without folds.

    Raises:
        UserError: the file is missing or damaged, has other columns, keys or types, names an id in two parts
            of a fold, or has a fold without train or test.
    """
    text = _text(path)
    entries = _of_json(path, text) if path.suffix == ".json" else _of_csv(path, text)
    folds: dict[int, dict[str, str]] = {}
    twice = []
    for where, fold, guid, name in entries:
        part = NAMES.get(name)
        if part is None:
            raise UserError(f"{path}: {where}: {name[:100]!r}: no such part: {_EXPECTED}")
        if not guid:
            raise UserError(f"{path}: {where}: an empty id")
        first = folds.setdefault(fold, {}).setdefault(guid, part)
        if first != part:
            twice.append(f"{shown(guid)} ({first}, then {part}, {where})")
    if twice:
        raise UserError(
            f"{path}: {len(twice)} ids are in two parts of one fold: {listed(twice)}: leave one"
        )
    if not folds:
        raise UserError(f"{path}: no ids in it")
    for number, parts in sorted(folds.items()):
        _check_parts(set(parts.values()), f"{path}: fold {number}" if len(folds) > 1 else str(path))
    return [folds[number] for number in sorted(folds)]


def unknown(folds: Sequence[Fold], rows: Sequence[LabelRow]) -> list[str]:
    """The ids that no row has, sorted."""
    return sorted({guid for fold in folds for guid in fold} - {row.guid for row in rows})


def refuse(source: str, guids: Sequence[str]) -> None:
    """Raises one `UserError` that counts the ids without a sample, if there are any, and lists the first."""
    if guids:
        raise UserError(
            f"{source}: {len(guids)} ids without a labelled sample in data.root: "
            f"{listed(list(map(shown, guids)))}. Is the split of other data? To go on without these ids: "
            "data.on_bad_sample=skip"
        )


def assign(
    source: str,
    rows: Sequence[LabelRow],
    groups: Mapping[str, str],
    fold: Fold,
    *,
    seed: int,
    val_size: float,
) -> list[str]:
    """The part of each labelled row, `unused` where `fold` does not name it.

    In a fold without validation, `splits.assign` draws a share of train for it: stratified, whole groups at
    a time.

    Args:
        source: where `fold` comes from, for errors.
        rows: labelled rows.
        groups: guid -> name of its group; a guid that it lacks stands alone.
        fold: guid -> part.
        seed: of what is drawn.
        val_size: share of the groups in train, 0 <= x < 1.

    Raises:
        UserError: no row is for train, or none for test; a label has too few groups in train.
    """
    parts = [fold.get(row.guid, UNUSED) for row in rows]
    _check_parts(set(parts), source)
    if "val" in parts:
        return parts
    train = [row for row, part in zip(rows, parts, strict=True) if part == "train"]
    drawn = iter(splits.assign(train, groups, seed=seed, val_size=val_size, test_size=0.0))
    return [next(drawn) if part == "train" else part for part in parts]


def _check_parts(found: Collection[str], source: str) -> None:
    for part in ("train", "test"):
        if part not in found:
            raise UserError(
                f"{source}: no sample is for {part}: a published split needs train and test"
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: expected the file of split.file") from None


def _of_csv(path: Path, text: str) -> Iterator[_Entry]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        lines = [
            (reader.line_num, [field.strip() for field in fields]) for fields in reader if fields
        ]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num}: {error}") from None
    header = ["id" if name == "guid" else name for name in (lines[0][1] if lines else [])]
    if sorted(header) not in (["id", "split"], ["fold", "id", "split"]):
        raise UserError(
            f"{path}: line 1: {','.join(header)[:100]!r}: expected the columns id (or guid), split and, "
            "for several folds, fold, separated by commas"
        )
    for number, fields in lines[1:]:
        where = f"line {number}"
        if len(fields) != len(header):
            raise UserError(
                f"{path}: {where}: {len(fields)} fields: expected {len(header)}: {','.join(header)}"
            )
        row = dict(zip(header, fields, strict=True))
        fold = row.get("fold", "0")
        if not (fold.isascii() and fold.isdigit()):
            raise UserError(f"{path}: {where}: fold {fold[:100]!r}: expected a whole number")
        yield _Entry(where, int(fold), row["id"], row["split"].lower())


def _of_json(path: Path, text: str) -> Iterator[_Entry]:
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    for fold, parts in enumerate(document if isinstance(document, list) else [document]):
        if not isinstance(parts, dict):
            raise UserError(
                f"{path}: {str(parts)[:100]!r}: expected an object such as "
                '{"train": [ids], "val": [ids], "test": [ids]}, or a list of such objects, one for each fold'
            )
        if not any(parts.values()):
            raise UserError(f"{path}: fold {fold}: no ids in it")
        for name, ids in parts.items():
            where = f"fold {fold}, {name[:100]!r}"
            if not isinstance(ids, list):
                raise UserError(f"{path}: {where}: expected a list of ids")
            for guid in ids:
                # In Python True is an int, too.
                if isinstance(guid, bool) or not isinstance(guid, str | int):
                    raise UserError(
                        f"{path}: {where}: {str(guid)[:100]!r}: expected an id, as text or a whole number"
                    )
                yield _Entry(where, fold, str(guid).strip(), name.strip().lower())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object, in which no key may stand twice."""
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)[:100]}")
    return out
