"""Predicts the unlabelled rows and writes the submission.

    python -m stages.infer

Reads `data/features/`, `data/splits.csv` and `models/stage2/`; writes `data/predictions/submission.txt`
(`guid,tag`, the rows and order of the test file) and `predictions.csv` with a probability a class,
what text and image contributed, and whether the row is too uncertain to be trusted.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse import params
from sentifuse.errors import run

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

    infer: Infer


def main() -> None:
    """Writes both files; without rows to predict they hold the header only."""
    p = params.load(Params)
    from sentifuse import attribution, checkpoint, dataset, features, predictions, splits

    loaded = checkpoint.load(MODEL)
    labels = loaded.model.config.labels
    parts = dataset.load_parts(features.read(FEATURES), splits.read(SPLITS), labels)
    found = attribution.attribute(
        loaded.model, parts.predict, loaded.info["predict_views"], loaded.info["temperature"]
    )
    predictions.write(OUT, parts.predict.guids, labels, found, p.infer.min_confidence)
    print(f"{OUT / 'submission.txt'}: {len(parts.predict)} rows")


if __name__ == "__main__":
    run(main)
