"""The layout of the course's data: a file for each image and each text, and two label files.

`ROOT/data/{guid}.jpg|.jpeg|.png|.webp`, `ROOT/data/{guid}.txt`, and the `label_files`. Suffixes may be in
upper case.
"""

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sentifuse.data import label_files
from sentifuse.data.listing import Find, Input, Listing
from sentifuse.errors import UserError

_IMAGES = (".jpg", ".jpeg", ".png", ".webp")
_TEXTS = (".txt",)


def read(root: Path, labels: Sequence[str]) -> Listing:
    """Lists the data set.

    Raises:
        UserError: label files that cannot be read as such, or a folder of files that is a link out of `root`.
    """
    rows = label_files.read(root, labels)
    return Listing(str(root / label_files.TRAIN_FILE), rows, finder(root))


def finder(root: Path) -> Find:
    """Finds the files of a guid, which is a plain file name (`label_rows.is_safe`).

    Raises:
        UserError: `ROOT/data` is a link out of `root`.
    """
    data = root / "data"
    if not data.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{data}: a link out of {root}: put the folder itself there")
    files = _Files(data, _odd_names(data))
    return lambda guid: (files.find(guid, "image", _IMAGES), files.find(guid, "text", _TEXTS))


@dataclass(frozen=True)
class _Files:
    """A folder to look for files in.

    `odd` maps a name with its suffix in lower case to the files of that name, where they are several, or
    one that is written otherwise.
    """

    folder: Path
    odd: Mapping[str, Sequence[str]]

    def find(self, guid: str, what: str, suffixes: Sequence[str]) -> Input:
        """The first file of `guid` with one of `suffixes`, in any case."""
        for suffix in suffixes:
            path = self.folder / f"{guid}{suffix}"
            names = self.odd.get(path.name, ())
            if len(names) > 1:
                detail = f"{', '.join(names)}: keep one"
                return Input("", path.as_posix(), "files that differ in case only", detail)
            if names:
                path = path.with_name(names[0])
            if names or os.path.lexists(path):
                return Input(path.as_posix(), path.as_posix())
        several = len(suffixes) > 1
        where = self.folder / (guid if several else f"{guid}{suffixes[0]}")
        return Input(
            "", where.as_posix(), f"no {what} file", ", ".join(suffixes) if several else ""
        )


def _odd_names(folder: Path) -> dict[str, list[str]]:
    """What `_Files.odd` is: cameras and Windows write `1.JPG`."""
    found = defaultdict(list)
    try:
        for name in os.listdir(folder):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in (*_IMAGES, *_TEXTS):
                found[stem + suffix.lower()].append(name)
    except OSError:  # no such folder, or no right to list it: each sample tells what it lacks
        return {}
    return {lower: sorted(names) for lower, names in found.items() if names != [lower]}
