"""Reads the image and the text of every sample once: their hashes, the keys of duplicates, and what is wrong.

Images are decoded in whole, for nothing else shows that a file is cut off; the perceptual hash is made
of the same decoding. Nothing outside the data set is opened, and nothing larger than the limits is read.
"""

import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.data import images, locations, text
from sentifuse.data.bad_samples import Problem
from sentifuse.data.listing import Find, Input
from sentifuse.data.perceptual_hash import perceptual_hash
from sentifuse.runtime import threads
from sentifuse.runtime.files import sha256
from sentifuse.runtime.progress import progress

# Suffix -> Pillow's formats. MPO is what two-lens cameras and phones make: JPEG files with further
# pictures behind the first.
_FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
}
COLUMNS = ["guid", "image", "text", "image_sha256", "text_sha256", "image_hash", "clean_text"]

_CHUNK = 256  # samples per task

_Notes = list[tuple[str, str]]  # reason and detail of what is odd about a file


@dataclass(frozen=True)
class Inspected:
    """What the files hold.

    `samples` has one row per sample, sorted by guid, with `COLUMNS`; what belongs to an image or a text that
    is not usable is empty. Its images and texts are `locations`, relative to the working folder.
    """

    samples: pd.DataFrame
    problems: list[Problem]  # what makes an image or a text not usable
    notes: list[Problem]  # what is odd and usable all the same


class _Content(NamedTuple):
    """A usable image or text: its location, the hash of its bytes, and what its duplicates share."""

    location: str = ""
    sha256: str = ""
    key: str = ""


class _BadInputError(Exception):
    """An image or a text that cannot be used: the reason and what was found."""


def inspect(root: Path, guids: Sequence[str], find: Find) -> Inspected:
    """Reads the image and the text of every guid, on all cores; neither their number nor the order of the
    guids changes anything.

    Args:
        root: the data set; no file outside it is read.
        guids: read in this order, which is best that of a table's rows.
        find: where the inputs are.
    """
    chunks = [guids[start : start + _CHUNK] for start in range(0, len(guids), _CHUNK)]
    inside = root.resolve()
    samples: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    notes: list[Problem] = []
    # Threads: Pillow decodes and resizes without holding the interpreter's lock, and processes would
    # take longer to start than thousands of files.
    with (
        progress("read samples", len(guids), "samples") as shown,
        ThreadPoolExecutor(threads.cores()) as pool,
    ):
        for found in pool.map(
            lambda chunk: [_sample(inside, guid, find) for guid in chunk], chunks
        ):
            shown.advance(len(found))
            for row, wrong, odd in found:
                samples.append(row)
                problems += wrong
                notes += odd
    table = pd.DataFrame(samples, columns=COLUMNS, dtype=str).sort_values("guid", ignore_index=True)
    return Inspected(
        table,
        *(sorted(each, key=lambda problem: problem.guid) for each in (problems, notes)),
    )


def _sample(
    inside: Path, guid: str, find: Find
) -> tuple[tuple[str, ...], list[Problem], list[Problem]]:
    """The row of one sample, what is wrong with it, and what is odd."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    found = []
    inputs = find(guid)
    for read, given in zip((_image, _text), inputs, strict=True):
        content = _Content()
        try:
            content, odd = read(given, inside)
            notes += [Problem(guid, given.where, *each) for each in odd]
        except _BadInputError as error:
            problems.append(Problem(guid, given.where, *error.args))
        found.append(content)
    image, words = found
    if words.location and not words.key:
        # A tweet of only a link and a picture is common: the picture is enough. Without it nothing is left.
        empty = Problem(guid, inputs[1].where, "text empty after cleaning")
        (notes if image.location else problems).append(empty)
        words = words if image.location else _Content()
    row = (guid, image.location, words.location, image.sha256, words.sha256, image.key, words.key)
    return row, problems, notes


def _image(given: Input, inside: Path) -> tuple[_Content, _Notes]:
    raw = _bytes(given, inside, images.MAX_BYTES, "image")
    try:
        opened = images.open_image(raw)
        kind, mode = opened.format or "", opened.mode
        found = _Content(given.location, sha256(raw), perceptual_hash(opened))
    except images.ImageError as error:
        raise _BadInputError(error.reason, str(error)) from None
    odd: _Notes = []
    expected = _FORMATS.get(Path(given.where).suffix.lower())
    if expected and kind not in expected:
        odd.append(("another format than the name says", kind))
    if mode in images.DEEP_MODES:
        detail = "white is 1, 255 or 65535, whichever its values fit"
        odd.append(("image of 32 bits a pixel", detail))
    return found, odd


def _text(given: Input, inside: Path) -> tuple[_Content, _Notes]:
    raw = _bytes(given, inside, text.MAX_BYTES, "text")
    try:
        found = _Content(given.location, sha256(raw), text.clean(text.read(raw)))
    except text.TextError as error:
        raise _BadInputError(error.reason, str(error)) from None
    doubt = _doubt(text.readings(raw))
    return found, [("encoding in doubt", doubt)] if doubt else []


def _doubt(readings: Sequence[str]) -> str:
    """A little of both readings, from before where they differ; nothing if there is only one."""
    if len(readings) < 2:
        return ""
    best, second = readings[:2]
    equal = next(place for place in range(len(best)) if best[place] != second[place : place + 1])
    start = max(0, equal - 20)
    return f"read as {best[start : start + 50]!r}, not {second[start : start + 50]!r}"


def _bytes(given: Input, inside: Path, limit: int, what: str) -> bytes:
    """The bytes of an input that are neither none nor more than `limit`; a file is a regular one of the data
    set."""
    if given.reason:
        raise _BadInputError(given.reason, given.detail)
    try:
        if locations.is_file(given.location):
            _check_file(Path(given.location), inside, what)
        length = locations.size(given.location)
        raw = locations.read(given.location) if length is None or length <= limit else b""
    except (OSError, RuntimeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise _BadInputError(f"{what} file cannot be read", told) from None
    length = len(raw) if length is None else length
    if length > limit:
        raise _BadInputError(f"{what} too long", f"{length} bytes, more than {limit}")
    if len(raw) < length:
        raise _BadInputError(f"{what} cut off", f"{len(raw)} of {length} bytes")
    if not raw:
        raise _BadInputError(f"{what} empty", "0 bytes")
    return raw


def _check_file(path: Path, inside: Path, what: str) -> None:
    # A link may lead about in the data set, not out of it.
    found = path.resolve()
    if not found.is_relative_to(inside):
        raise _BadInputError("link out of the data set", str(found))
    # Reading a pipe would wait for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise _BadInputError(f"no {what} file", "not a regular file")
