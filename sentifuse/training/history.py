"""What training tells: progress while it runs, a CSV of its epochs, a note for the checkpoint."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentifuse.runtime.files import write_text
from sentifuse.runtime.progress import progress
from sentifuse.training.loop import HISTORY, Fitted


@contextmanager
def shown(what: str, epochs: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """A function to call with each row of the history; it shows progress."""
    with progress(what, epochs, "epochs") as bar:

        def on_epoch(row: dict[str, float]) -> None:
            score = row.get("val_macro_f1")
            note = f"loss {row['train_loss']:.3f}"
            bar.advance(1, note if score is None else f"{note}, val macro-F1 {score:.3f}")

        yield on_epoch


def write(fitted: Fitted, path: Path) -> None:
    """Writes a row an epoch, with the columns that it has; six significant digits, as plots need no more."""
    columns = [name for name in HISTORY if not fitted.history or name in fitted.history[0]]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in fitted.history:
        rounded = {name: f"{row[name]:.6g}" for name in columns}
        writer.writerow(rounded)
    write_text(path, out.getvalue())


def info(members: Sequence[Fitted], predict_views: str, temperature: float = 1.0) -> dict[str, Any]:
    """What a checkpoint notes of its training, and how its answers come about: which views of an image
    it sees, and the temperature that makes logits probabilities."""
    return {
        "training": [
            {
                "best_epoch": fitted.best_epoch,
                "epochs": len(fitted.history),
                "val": fitted.val,
                "precision": fitted.precision,
            }
            for fitted in members
        ],
        "predict_views": predict_views,
        "temperature": temperature,
    }
