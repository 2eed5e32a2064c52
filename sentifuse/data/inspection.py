"""Reads the files of every sample once: their hashes, the keys of duplicates, and what is wrong.

Images are decoded in whole, for nothing else shows that a file is cut off; the perceptual hash is made
of the same decoding. Nothing outside the data set is opened, and nothing larger than the limits is read.
"""

import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.data import images, text
from sentifuse.data.bad_samples import Problem
from sentifuse.data.perceptual_hash import perceptual_hash
from sentifuse.errors import UserError
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
_TEXT_SUFFIX = ".txt"
COLUMNS = ["guid", "image", "text", "image_sha256", "text_sha256", "image_hash", "clean_text"]

_CHUNK = 256  # samples per task

_Notes = list[tuple[str, str]]  # reason and detail of what is odd about a file


@dataclass(frozen=True)
class Inspected:
    """What the files hold.

    `samples` has one row per sample, sorted by guid, with `COLUMNS`; what belongs to an image or a text that
    is not usable is empty. Paths are relative to the working folder.
    """

    samples: pd.DataFrame
    problems: list[Problem]  # what makes an image or a text not usable
    notes: list[Problem]  # what is odd and usable all the same


class _File(NamedTuple):
    """A usable image or text: its path, the hash of its bytes, and what its duplicates share."""

    path: str = ""
    sha256: str = ""
    key: str = ""


class _BadFileError(Exception):
    """A file that is not read: its path, the reason and what was found."""


@dataclass(frozen=True)
class _Root:
    """The data set, to look for files in.

    `odd` maps a name with its suffix in lower case to the files of that name, where they are several, or
    one that is written otherwise.
    """

    data: Path  # `ROOT/data`
    inside: Path  # ROOT itself, without links: no link may lead out of it
    odd: Mapping[str, Sequence[str]]

    def find(self, guid: str, suffixes: Sequence[str]) -> Path | None:
        """The first file of `guid` with one of `suffixes`, in any case; None if there is none."""
        for suffix in suffixes:
            path = self.data / f"{guid}{suffix}"
            names = self.odd.get(path.name, ())
            if len(names) > 1:
                detail = f"{', '.join(names)}: keep one"
                raise _BadFileError(path.as_posix(), "files that differ in case only", detail)
            if names:
                return path.with_name(names[0])
            if os.path.lexists(path):
                return path
        return None


def inspect(root: Path, guids: Sequence[str]) -> Inspected:
    """Reads the image and the text of every guid in `ROOT/data`, on all cores; their number changes nothing.

    The guids are plain file names (`label_files.is_safe`).

    Raises:
        UserError: `ROOT/data` is a link out of `root`.
    """
    names = sorted(guids)
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    inside = root.resolve()
    if not (root / "data").resolve().is_relative_to(inside):
        raise UserError(f"{root / 'data'}: a link out of {root}: put the folder itself there")
    files = _Root(root / "data", inside, _odd_names(root / "data"))
    samples: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    notes: list[Problem] = []
    # Threads: Pillow decodes and resizes without holding the interpreter's lock, and processes would
    # take longer to start than thousands of files.
    with (
        progress("read samples", len(names), "samples") as shown,
        ThreadPoolExecutor(threads.cores()) as pool,
    ):
        for found in pool.map(lambda chunk: [_sample(files, name) for name in chunk], chunks):
            shown.advance(len(found))
            for row, wrong, odd in found:
                samples.append(row)
                problems += wrong
                notes += odd
    return Inspected(pd.DataFrame(samples, columns=COLUMNS, dtype=str), problems, notes)


def _odd_names(folder: Path) -> dict[str, list[str]]:
    """What `_Root.odd` is: cameras and Windows write `1.JPG`."""
    found = defaultdict(list)
    try:
        for name in os.listdir(folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in (*_FORMATS, _TEXT_SUFFIX):
                found[stem + suffix.lower()].append(name)
    except OSError:  # no such folder, or no right to list it: each sample tells what it lacks
        return {}
    return {lower: sorted(names) for lower, names in found.items() if names != [lower]}


def _sample(files: _Root, guid: str) -> tuple[tuple[str, ...], list[Problem], list[Problem]]:
    """The row of one sample, what is wrong with it, and what is odd."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    found = []
    for read in (_image, _text):
        file = _File()
        try:
            file, odd = read(files, guid)
            notes += [Problem(guid, file.path, *each) for each in odd]
        except _BadFileError as error:
            problems.append(Problem(guid, *error.args))
        found.append(file)
    image, words = found
    if words.path and not words.key:
        # A tweet of only a link and a picture is common: the picture is enough. Without it nothing is left.
        empty = Problem(guid, words.path, "text empty after cleaning")
        (notes if image.path else problems).append(empty)
        words = words if image.path else _File()
    row = (guid, image.path, words.path, image.sha256, words.sha256, image.key, words.key)
    return row, problems, notes


def _image(files: _Root, guid: str) -> tuple[_File, _Notes]:
    path = files.find(guid, tuple(_FORMATS))
    if path is None:
        where = (files.data / guid).as_posix()
        raise _BadFileError(where, "no image file", ", ".join(_FORMATS))
    raw = _bytes(path, files.inside, images.MAX_BYTES, "image")
    try:
        opened = images.open_image(raw)
        kind, mode = opened.format or "", opened.mode
        found = _File(path.as_posix(), sha256(raw), perceptual_hash(opened))
    except images.ImageError as error:
        raise _BadFileError(path.as_posix(), error.reason, str(error)) from None
    odd: _Notes = []
    if kind not in _FORMATS[path.suffix.lower()]:
        odd.append(("another format than the name says", kind))
    if mode in images.DEEP_MODES:
        detail = "white is 1, 255 or 65535, whichever its values fit"
        odd.append(("image of 32 bits a pixel", detail))
    return found, odd


def _text(files: _Root, guid: str) -> tuple[_File, _Notes]:
    path = files.find(guid, (_TEXT_SUFFIX,))
    if path is None:
        raise _BadFileError((files.data / f"{guid}{_TEXT_SUFFIX}").as_posix(), "no text file")
    raw = _bytes(path, files.inside, text.MAX_BYTES, "text")
    try:
        found = _File(path.as_posix(), sha256(raw), text.clean(text.read(raw)))
    except text.TextError as error:
        raise _BadFileError(path.as_posix(), error.reason, str(error)) from None
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


def _bytes(path: Path, inside: Path, limit: int, what: str) -> bytes:
    """The bytes of a regular file of the data set that is neither empty nor longer than `limit`."""
    where = path.as_posix()
    try:
        # A link may lead about in the data set, not out of it.
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise _BadFileError(where, "link out of the data set", str(path.resolve()))
        status = path.stat()
        # Reading a pipe would wait for ever.
        if not stat.S_ISREG(status.st_mode):
            raise _BadFileError(where, f"no {what} file", "not a regular file")
        if status.st_size > limit:
            found = f"{status.st_size} bytes, more than {limit}"
            raise _BadFileError(where, f"{what} too long", found)
        raw = path.read_bytes()
    except (OSError, RuntimeError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise _BadFileError(where, f"{what} file cannot be read", told) from None
    if not raw:
        raise _BadFileError(where, f"{what} empty", "0 bytes")
    return raw
