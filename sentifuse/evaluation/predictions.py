"""Predictions as files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sentifuse.evaluation.incomplete import Predicted
from sentifuse.runtime import finite
from sentifuse.runtime.files import as_csv, writing


def write(
    folder: Path, labels: Sequence[str], told: Iterable[Predicted], min_confidence: float
) -> int:
    """Writes `submission.txt` (`guid,tag`) and `predictions.csv`, which says more.

    Its further columns: `p_<label>` for each class; `confidence`, the largest of them; `uncertain`,
    `true` where that is below `min_confidence`; `text_contribution` and `image_contribution` to the
    probability of the predicted class; `missing`, what the row lacks. The submission has a tag for every
    row, uncertain or incomplete or not.

    Args:
        folder: made if need be.
        labels: C class names.
        told: what is said of some rows, and of the next; written with six decimals.
        min_confidence: 0..1.

    Returns:
        How many rows were written.

    Raises:
        UserError: a probability is NaN; then neither file is written.
    """
    rows = 0
    with (
        writing(folder / "submission.txt") as submission,
        writing(folder / "predictions.csv") as predictions,
    ):
        for some in told:
            table = _table(some, labels, min_confidence)
            submission.write(as_csv(table[["guid", "tag"]], header=not rows))
            predictions.write(as_csv(table, header=not rows))
            rows += len(table)
    return rows


def _table(some: Predicted, labels: Sequence[str], min_confidence: float) -> pd.DataFrame:
    found = some.found
    finite.check(
        found.probabilities,
        [f"guid {guid}" for guid in some.guids],
        "probabilities",
        "train again: `dvc repro train_stage1 train_stage2`",
    )
    best = found.probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    tags = pd.DataFrame({"guid": some.guids, "tag": [labels[index] for index in best]}, dtype=str)
    confidence = found.probabilities[rows, best]
    more = {f"p_{label}": found.probabilities[:, place] for place, label in enumerate(labels)}
    return tags.assign(
        **more,
        confidence=confidence,
        uncertain=np.where(confidence < min_confidence, "true", "false"),
        text_contribution=found.text[rows, best],
        image_contribution=found.image[rows, best],
        missing=some.missing,
    )
