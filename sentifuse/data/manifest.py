"""The manifest: the files of every sample in use, and their hashes.

It is sorted by guid and knows neither labels nor splits: it changes only when the files do. A sample that
lacks a modality has an empty path and an empty hash there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.runtime.files import csv_rows, write_text

COLUMNS = ["guid", "image", "text", "image_sha256", "text_sha256"]


class Sample(NamedTuple):
    """One row."""

    guid: str
    image: str
    text: str
    image_sha256: str
    text_sha256: str


@dataclass(frozen=True)
class Samples:
    """The rows of a manifest, read from its file one at a time, each time anew: none is held."""

    path: Path

    def __iter__(self) -> Iterator[Sample]:
        yield from (Sample(*row) for row in csv_rows(self.path))


def missing(manifest: pd.DataFrame) -> dict[str, str]:
    """Guid -> what the sample lacks: nothing, `image`, `text` or `image+text`."""
    return {
        guid: _missing(image, text)
        for guid, image, text in manifest[["guid", "image", "text"]].itertuples(index=False)
    }


def incomplete(samples: Iterable[Sample]) -> dict[str, str]:
    """The same as `missing`, of those samples only that lack something."""
    return {
        sample.guid: kind for sample in samples if (kind := _missing(sample.image, sample.text))
    }


def write(samples: pd.DataFrame, path: Path) -> None:
    """Writes the columns of the manifest as CSV."""
    write_text(path, samples[COLUMNS].to_csv(index=False, lineterminator="\n"))


def read(path: Path) -> pd.DataFrame:
    """Reads what `write` wrote; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _missing(image: str, text: str) -> str:
    return "+".join(name for name, path in (("image", image), ("text", text)) if not path)
