"""Reads the files of every sample once: hashes, what duplicates are told by, and what is wrong.

Images are decoded in whole, for a file that is cut off shows in nothing else; the perceptual hash is made
of the same decoding. Nothing outside the data set is opened, and nothing larger than the limits is read.
"""

import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sentifuse import images, text, threads
from sentifuse.bad_samples import Problem
from sentifuse.errors import UserError
from sentifuse.files import sha256
from sentifuse.perceptual_hash import perceptual_hash
from sentifuse.progress import progress

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COLUMNS = ["guid", "image", "text", "image_sha256", "text_sha256", "image_hash", "clean_text"]

# MPO is what two-lens cameras and phones make: JPEG files with further pictures behind the first.
_FORMATS = {
    ".jpg": ("JPEG", "MPO"),
    ".jpeg": ("JPEG", "MPO"),
    ".png": ("PNG",),
    ".webp": ("WEBP",),
}
_CHUNK = 256  # samples a task


@dataclass(frozen=True)
class Inspected:
    """What the files hold.

    Attributes:
        samples: a row a sample, sorted by guid, with `COLUMNS`; all that is of an image or a text that
            is not usable is empty. Paths are relative to the working folder.
        problems: what makes an image or a text not usable.
        notes: what is odd and usable all the same.
    """

    samples: pd.DataFrame
    problems: list[Problem]
    notes: list[Problem]


@dataclass(frozen=True)
class _Image:
    path: str = ""
    sha256: str = ""
    hash: str = ""


@dataclass(frozen=True)
class _Text:
    path: str = ""
    sha256: str = ""
    clean: str = ""


class _BadFileError(Exception):
    """A file that is not read: its path, the reason and what was found."""


def inspect(root: Path, guids: Sequence[str]) -> Inspected:
    """Reads the image and the text of every guid in `ROOT/data`, on all cores; their number changes nothing.

    Args:
        root: the data set.
        guids: plain file names (`label_files.is_safe`).

    Raises:
        UserError: `ROOT/data` is a link out of `root`.
    """
    names = sorted(guids)
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    inside = root.resolve()
    if not (root / "data").resolve().is_relative_to(inside):
        raise UserError(f"{root / 'data'}: a link out of {root}: put the folder itself there")
    samples: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    notes: list[Problem] = []
    # Threads: Pillow decodes and resizes without holding the interpreter's lock, and processes would
    # take longer to start than thousands of files.
    with (
        progress("read samples", len(names), "samples") as shown,
        ThreadPoolExecutor(threads.cores()) as pool,
    ):
        for found in pool.map(
            lambda chunk: [_sample(root, inside, name) for name in chunk], chunks
        ):
            shown.advance(len(found))
            for row, wrong, odd in found:
                samples.append(row)
                problems += wrong
                notes += odd
    return Inspected(pd.DataFrame(samples, columns=COLUMNS, dtype=str), problems, notes)


def _sample(
    root: Path, inside: Path, guid: str
) -> tuple[tuple[str, ...], list[Problem], list[Problem]]:
    """The row of one sample, what is wrong with it, and what is odd."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    image, words = _Image(), _Text()
    try:
        image, lies = _image(root, inside, guid)
        if lies:
            notes.append(Problem(guid, image.path, "another format than the name says", lies))
    except _BadFileError as error:
        problems.append(Problem(guid, *error.args))
    try:
        words = _text(root, inside, guid)
        if not words.clean:
            # A tweet of a link and a picture is common, and the picture is enough. Alone it is nothing.
            empty = Problem(guid, words.path, "text empty after cleaning")
            (notes if image.path else problems).append(empty)
            words = words if image.path else _Text()
    except _BadFileError as error:
        problems.append(Problem(guid, *error.args))
    row = (
        guid, image.path, words.path, image.sha256, words.sha256, image.hash, words.clean,
    )  # fmt: skip
    return row, problems, notes


def _image(root: Path, inside: Path, guid: str) -> tuple[_Image, str]:
    """The image, and its format if its name says another one."""
    base = root / "data" / guid
    paths = [base.with_name(f"{guid}{suffix}") for suffix in IMAGE_SUFFIXES]
    path = next((path for path in paths if os.path.lexists(path)), None)
    if path is None:
        raise _BadFileError(base.as_posix(), "no image file", ", ".join(IMAGE_SUFFIXES))
    raw = _bytes(path, inside, images.MAX_BYTES, "image")
    try:
        opened = images.open_image(raw)
        kind = opened.format or ""
        found = _Image(path.as_posix(), sha256(raw), perceptual_hash(opened))
    except images.ImageError as error:
        raise _BadFileError(path.as_posix(), error.reason, str(error)) from None
    return found, "" if kind in _FORMATS[path.suffix] else kind


def _text(root: Path, inside: Path, guid: str) -> _Text:
    path = root / "data" / f"{guid}.txt"
    if not os.path.lexists(path):
        raise _BadFileError(path.as_posix(), "no text file")
    raw = _bytes(path, inside, text.MAX_BYTES, "text")
    try:
        return _Text(path.as_posix(), sha256(raw), text.clean(text.read(raw)))
    except text.TextError as error:
        raise _BadFileError(path.as_posix(), error.reason, str(error)) from None


def _bytes(path: Path, inside: Path, limit: int, what: str) -> bytes:
    """The bytes of a regular file of the data set that is neither empty nor longer than `limit`."""
    try:
        # A link may lead about in the data set, not out of it.
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise _BadFileError(path.as_posix(), "link out of the data set", str(path.resolve()))
        status = path.stat()
        # A pipe would be waited on for ever.
        if not stat.S_ISREG(status.st_mode):
            raise _BadFileError(path.as_posix(), f"no {what} file", "not a regular file")
        if status.st_size > limit:
            found = f"{status.st_size} bytes, more than {limit}"
            raise _BadFileError(path.as_posix(), f"{what} too long", found)
        raw = path.read_bytes()
    except (OSError, RuntimeError) as error:
        raise _BadFileError(
            path.as_posix(),
            f"{what} file cannot be read",
            getattr(error, "strerror", None) or str(error),
        ) from None
    if not raw:
        raise _BadFileError(path.as_posix(), f"{what} empty", "0 bytes")
    return raw
