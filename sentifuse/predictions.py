"""Predictions as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sentifuse.attribution import Attribution
from sentifuse.files import write_csv


def write(
    folder: Path,
    guids: Sequence[str],
    labels: Sequence[str],
    found: Attribution,
    missing: Sequence[str],
    min_confidence: float,
) -> None:
    """Writes `submission.txt` (`guid,tag`) and `predictions.csv`, which says more.

    Its further columns: `p_<label>` for each class; `confidence`, the largest of them; `uncertain`,
    `true` where that is below `min_confidence`; `text_contribution` and `image_contribution` to the
    probability of the predicted class; `missing`, what the row lacks. The submission has a tag for every
    row, uncertain or incomplete or not.

    Args:
        folder: made if need be.
        guids: N, in the order of the test file.
        labels: C class names.
        found: (N, C) probabilities and contributions, written with six decimals.
        missing: N, each nothing, `image`, `text` or `image+text`.
        min_confidence: 0..1.
    """
    best = found.probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    tags = pd.DataFrame({"guid": list(guids), "tag": [labels[index] for index in best]}, dtype=str)
    write_csv(folder / "submission.txt", tags)
    confidence = found.probabilities[rows, best]
    more = {f"p_{label}": found.probabilities[:, place] for place, label in enumerate(labels)}
    table = tags.assign(
        **more,
        confidence=confidence,
        uncertain=np.where(confidence < min_confidence, "true", "false"),
        text_contribution=found.text[rows, best],
        image_contribution=found.image[rows, best],
        missing=list(missing),
    )
    write_csv(folder / "predictions.csv", table)
