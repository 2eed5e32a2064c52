"""The labels that annotators gave to the text and to the image of a sample alone, where a data set has them.

MVSA has them; few other data sets do. Both are names of classes as in `labels`, or empty where unknown.
"""

from pathlib import Path

import pandas as pd

COLUMNS = ["guid", "text_label", "image_label"]


def read(path: Path) -> pd.DataFrame:
    """Reads what `split` wrote: `COLUMNS`, one row per sample that has such a label, all strings."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
