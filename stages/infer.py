"""Predicts the unlabelled rows and writes the submission.

    python -m stages.infer

Reads `data/features/`, `data/splits.csv` and `models/stage2/`; writes `data/predictions/submission.txt`
(`guid,tag`, the rows and order of the test file) and `predictions.csv` with a probability a class.
"""

from pathlib import Path

from sentifuse.errors import run

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
MODEL = Path("models/stage2")
OUT = Path("data/predictions")


def main() -> None:
    """Writes both files; without rows to predict they hold the header only."""
    from sentifuse import checkpoint, dataset, evaluation, features, predictions, splits

    loaded = checkpoint.load(MODEL)
    labels = loaded.model.config.labels
    parts = dataset.load_parts(features.read(FEATURES), splits.read(SPLITS), labels)
    found = evaluation.probabilities(loaded.model, parts.predict, loaded.info["predict_views"])
    predictions.write(OUT, parts.predict.guids, labels, found.numpy())
    print(f"{OUT / 'submission.txt'}: {len(parts.predict)} rows")


if __name__ == "__main__":
    run(main)
