"""What training tells: progress while it runs, a CSV file of its epochs, a note for the checkpoint."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from sentifuse.runtime.files import write_text
from sentifuse.runtime.progress import progress
from sentifuse.training.loop import HISTORY, Fitted, OnEpoch


@contextmanager
def shown(what: str, epochs: int) -> Iterator[OnEpoch]:
    """Shows the progress of training; the block calls what it gets with each row of the history."""
    with progress(what, epochs, "epochs") as bar:

        def on_epoch(row: dict[str, float]) -> None:
            score = row.get("val_macro_f1")
            note = f"loss {row['train_loss']:.3f}"
            bar.advance(1, note if score is None else f"{note}, val macro-F1 {score:.3f}")

        yield on_epoch


def write(fitted: Fitted, path: Path) -> None:
    """Writes one row per epoch; six significant digits, as plots need no more."""
    columns = [name for name in HISTORY if not fitted.history or name in fitted.history[0]]
    table = pd.DataFrame(fitted.history, columns=columns)
    write_text(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def info(members: Sequence[Fitted], predict_views: str, temperature: float = 1.0) -> dict[str, Any]:
    """What the checkpoint notes: how each member was trained, and what makes its outputs probabilities.

    Args:
        members: how each was trained.
        predict_views: which views of an image the model sees.
        temperature: divides the logits.
    """
    return {
        "training": [
            {
                "best_epoch": fitted.best_epoch,
                "epochs": len(fitted.history),
                "val": fitted.val,
                "precision": fitted.precision,
                "device": fitted.device,
            }
            for fitted in members
        ],
        "predict_views": predict_views,
        "temperature": temperature,
    }
