"""The labels that annotators gave to the text and to the image of a sample alone, where a data set has them.

MVSA has them; few other data sets do. Both are names of classes as in `labels`, or empty where unknown.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

COLUMNS = ["guid", "text_label", "image_label"]


def table(found: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """`COLUMNS`, by guid, of guid -> the labels of the text and of the image."""
    rows = [(guid, *labels) for guid, labels in sorted(found.items())]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def read(path: Path) -> pd.DataFrame:
    """Reads what `split` wrote: `COLUMNS`, one row per sample that has such a label, all strings."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
