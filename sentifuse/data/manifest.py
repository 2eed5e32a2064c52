"""The manifest: where the image and the text of every sample in use lie (`locations`), and their hashes.

It is sorted by guid and knows neither labels nor splits: it changes only when the files do. A sample that
lacks a modality has an empty path and an empty hash there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from sentifuse.runtime.files import write_csv


class Sample(NamedTuple):
    """One row."""

    guid: str
    image: str
    text: str
    image_sha256: str
    text_sha256: str

    @property
    def missing(self) -> str:
        """What the sample lacks: nothing, `image`, `text` or `image+text`."""
        return "+".join(name for name in ("image", "text") if not getattr(self, name))


COLUMNS = list(Sample._fields)


def missing(manifest: pd.DataFrame) -> dict[str, str]:
    """Guid -> what the sample lacks, as `Sample.missing`."""
    samples = map(Sample._make, manifest[COLUMNS].itertuples(index=False))
    return {sample.guid: sample.missing for sample in samples}


def incomplete(samples: Iterable[Sample]) -> dict[str, str]:
    """The same as `missing`, of those samples only that lack something."""
    return {sample.guid: sample.missing for sample in samples if sample.missing}


def write(samples: pd.DataFrame, path: Path) -> None:
    """Writes the columns of the manifest as CSV."""
    write_csv(path, samples[COLUMNS])


def read(path: Path) -> pd.DataFrame:
    """Reads what `write` wrote; every column is a string."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
