"""Predictions as files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sentifuse.evaluation.incomplete import Predicted
from sentifuse.runtime import finite
from sentifuse.runtime.files import as_csv, writing


def write(
    folder: Path, labels: Sequence[str], portions: Iterable[Predicted], min_confidence: float
) -> int:
    """Writes `submission.txt` (`guid,tag`) and `predictions.csv`, which has more columns.

    These are `p_<label>` for each class; `confidence`, the largest of them; `uncertain`, `true` where that
    is below `min_confidence`; `text_contribution` and `image_contribution` to the probability of the
    predicted class; `missing`, what the row lacks. The submission has a tag for every row, uncertain and
    incomplete ones included.

    Args:
        folder: is made if it is not there.
        labels: C class names.
        portions: the predictions for some rows at a time; written with six decimals.
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
        for portion in portions:
            table = _table(portion, labels, min_confidence)
            submission.write(as_csv(table[["guid", "tag"]], header=not rows))
            predictions.write(as_csv(table, header=not rows))
            rows += len(table)
    return rows


def _table(portion: Predicted, labels: Sequence[str], min_confidence: float) -> pd.DataFrame:
    found = portion.found
    finite.check(
        found.probabilities,
        [f"guid {guid}" for guid in portion.guids],
        "probabilities",
        "train again: `dvc repro train_stage1 train_stage2`",
    )
    best = found.probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    confidence = found.probabilities[rows, best]
    tags = {"guid": portion.guids, "tag": [labels[index] for index in best]}
    return pd.DataFrame(tags, dtype=str).assign(
        **{f"p_{label}": found.probabilities[:, place] for place, label in enumerate(labels)},
        confidence=confidence,
        uncertain=np.where(confidence < min_confidence, "true", "false"),
        text_contribution=found.text[rows, best],
        image_contribution=found.image[rows, best],
        missing=portion.missing,
    )
