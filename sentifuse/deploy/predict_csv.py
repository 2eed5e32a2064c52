"""A CSV of pairs -> a CSV of predictions; one batch of rows is in memory at a time."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sentifuse.data import text
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError, listed
from sentifuse.runtime.files import check_output, writing

T = TypeVar("T")
_FIGURES = ("confidence", "text_contribution", "image_contribution")


@dataclass(frozen=True)
class CsvRow:
    """A row of the input: the line in which it ends, from 1, and a pair, or what is wrong with it."""

    line: int
    guid: str
    tag: str
    found: Pair | UserError


class Predicts(Protocol):
    """A `Predictor`, or another object that gives one answer per pair, in their order."""

    @property
    def labels(self) -> Sequence[str]: ...

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]: ...

    def try_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction | UserError]: ...


def predict(predictor: Predicts, source: Path, out: Path, skip: bool) -> tuple[int, int]:
    """Predicts every row of `source` and writes `out`, atomically.

    `out` has `line`, `guid`, `tag`, `p_<label>` for each class, `confidence`, `text_contribution` and
    `image_contribution`, with six decimals, and `problem`, which is empty for a row that was predicted.

    `source` has columns `image`, `text` or `text_file`, and perhaps `guid`; paths are relative to its folder.
    With `skip` a bad row is marked in its `problem`, else it stops everything.

    Returns:
        How many rows were predicted, and how many were passed over.

    Raises:
        UserError: not such a CSV file; or bad rows, listed with their lines, unless `skip`.
    """
    if not skip:
        # Mistakes that show without a prediction are told before the first one.
        checked = _answered(predictor.check_many, source)
        _raise_bad(source, [_told(row, problem) for row, problem in checked if problem is not None])
    figures = [*(f"p_{label}" for label in predictor.labels), *_FIGURES]
    bad: list[str] = []
    done = 0
    with writing(out) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["line", "guid", "tag", *figures, "problem"])
        for row, found in _answered(predictor.try_many, source):
            if isinstance(found, UserError):
                bad.append(_told(row, found))
                cells = ["", *[""] * len(figures), str(found)]
            else:
                done += 1
                cells = [*_cells(found), ""]
            writer.writerow([row.line, row.guid, *cells])
        if not skip:
            _raise_bad(source, bad)
    return done, len(bad)


def check_files(source: Path, out: Path, more: Iterable[Path]) -> None:
    """Checks, before a model is loaded, that `out` can be written and is nothing that is read.

    Raises:
        UserError: it cannot, or is `source`, one of `more`, or an image or a text file of a row.
    """
    check_output("--out", out, [source, *more])
    if out.exists():
        named = (
            record.get(name) for _, record in _records(source) for name in ("image", "text_file")
        )
        check_output("--out", out, (source.parent / str(name) for name in named if name))


def read(source: Path) -> Iterator[CsvRow]:
    """The rows of a CSV file, one at a time.

    Raises:
        UserError: not such a CSV file.
    """
    return (_row(source.parent, line, record) for line, record in _records(source))


def _records(source: Path) -> Iterator[tuple[int, dict[str | Any, str | Any]]]:
    """Each row with the line in which it ends, one at a time."""
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(source, reader.fieldnames)
            for record in reader:
                yield reader.line_num, record
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 text at byte {error.start}") from None
    except csv.Error as error:
        raise UserError(f"{source}: after line {reader.line_num}: {error}") from None


def _check_header(source: Path, names: Iterable[str] | None) -> None:
    given = list(names or ())
    if not {"image", "text", "text_file"} & set(given):
        raise UserError(
            f"{source}: line 1: {','.join(given)!r}: expected a header with `image`, `text` (or "
            "`text_file`), and perhaps `guid`"
        )
    if {"text", "text_file"} <= set(given):
        raise UserError(f"{source}: line 1: both `text` and `text_file`: keep one of them")


def _row(folder: Path, line: int, record: dict[str | Any, str | Any]) -> CsvRow:
    guid, tag = record.get("guid") or "", record.get("tag") or ""
    if None in record or None in record.values():
        return CsvRow(line, guid, tag, UserError("another number of fields than the header has"))
    image, words, file = (record.get(name) or "" for name in ("image", "text", "text_file"))
    try:
        raw = (folder / file).read_bytes() if file else b""
        content = text.read(raw) if raw.strip() else words
    except OSError as error:
        return CsvRow(line, guid, tag, UserError(f"{folder / file}: {error.strerror}"))
    except text.TextError as error:
        return CsvRow(line, guid, tag, UserError(f"{folder / file}: {error.reason} ({error})"))
    # An empty field is a missing text; an empty file is an empty text, as in training.
    pair = Pair(
        folder / image if image.strip() else None, content if file or words.strip() else None
    )
    nothing = UserError("neither an image nor a text")
    return CsvRow(line, guid, tag, nothing if pair == Pair() else pair)


def _answered(
    ask: Callable[[Iterator[Pair]], Iterator[T]], source: Path
) -> Iterator[tuple[CsvRow, T | UserError]]:
    """Each row with its answer, in order; only those that hold a pair are asked about."""
    rows, ahead = tee(read(source))
    answers = ask(row.found for row in ahead if isinstance(row.found, Pair))
    for row in rows:
        yield row, next(answers) if isinstance(row.found, Pair) else row.found


def _cells(found: Prediction) -> list[str]:
    added = [getattr(found, name) for name in _FIGURES]
    return [found.label, *(f"{figure:.6f}" for figure in [*found.probabilities.values(), *added])]


def _told(row: CsvRow, problem: UserError) -> str:
    return f"line {row.line}: {problem}"


def _raise_bad(source: Path, told: Sequence[str]) -> None:
    if told:
        raise UserError(f"{source}: {len(told)} bad rows: {listed(told)}")
