"""Predictions as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.files import write_text


def write(
    folder: Path, guids: Sequence[str], labels: Sequence[str], probabilities: NDArray[np.float64]
) -> None:
    """Writes `submission.txt` (`guid,tag`) and `predictions.csv` (and a probability a class).

    Args:
        folder: made if need be.
        guids: N, in the order of the test file.
        labels: C class names.
        probabilities: (N, C), written with six decimals.
    """
    tags = [labels[best] for best in probabilities.argmax(axis=1)]
    table = pd.DataFrame({"guid": list(guids), "tag": tags}, dtype=str)
    write_text(folder / "submission.txt", table.to_csv(index=False, lineterminator="\n"))
    for index, label in enumerate(labels):
        table[f"p_{label}"] = probabilities[:, index]
    text = table.to_csv(index=False, lineterminator="\n", float_format="%.6f")
    write_text(folder / "predictions.csv", text)
