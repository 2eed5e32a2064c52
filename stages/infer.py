"""Predicts the unlabelled rows and writes the submission.

    python -m stages.infer

Reads `data/manifest.csv`, `data/features/`, `data/splits.csv` and `models/stage2/`; writes
`data/predictions/submission.txt` (`guid,tag`, the rows and order of the test file) and `predictions.csv`
with a probability for each class, what text and image contributed, whether the row is too uncertain to
be trusted, and which of its inputs were missing.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

MANIFEST = Path("data/manifest.csv")
FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
MODEL = Path("models/stage2")
OUT = Path("data/predictions")


@dataclass(frozen=True)
class Infer:
    """The section `infer`."""

    __pydantic_config__ = params.STRICT
    min_confidence: params.Probability


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    infer: Infer


def main(p: Params) -> None:
    """Writes both files; without rows to predict they have the header only."""
    from sentifuse.data import manifest, splits
    from sentifuse.evaluation import incomplete, predictions
    from sentifuse.features import schema
    from sentifuse.models import checkpoint
    from sentifuse.runtime import files

    loaded = checkpoint.load(MODEL)
    portions = incomplete.predict(
        loaded.model,
        schema.read(FEATURES),
        files.CsvRows(SPLITS, splits.SplitRow._make),
        manifest.incomplete(files.CsvRows(MANIFEST, manifest.Sample._make)),
        loaded.info["predict_views"],
        loaded.info["temperature"],
    )
    rows = predictions.write(OUT, loaded.model.config.labels, portions, p.infer.min_confidence)
    print(f"{OUT / 'submission.txt'}: {rows} rows")


if __name__ == "__main__":
    run_stage(main, Params)
