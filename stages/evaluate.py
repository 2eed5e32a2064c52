"""Scores the finetuned model on validation and test.

    python -m stages.evaluate

Reads `data/features/`, `data/splits.csv` and `models/stage2/`; writes `metrics/evaluate.json` and
`plots/confusion.csv` and `.png`.
"""

from pathlib import Path

from sentifuse.errors import run

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
MODEL = Path("models/stage2")
METRICS = Path("metrics/evaluate.json")
CONFUSION = Path("plots/confusion.csv")
PICTURE = Path("plots/confusion.png")


def main() -> None:
    """Writes the scores by part and class name, and a row a test sample for the confusion matrix."""
    from sentifuse import checkpoint, dataset, evaluation, features, files, plots, splits

    loaded = checkpoint.load(MODEL)
    labels = loaded.model.config.labels
    parts = dataset.load_parts(features.read(FEATURES), splits.read(SPLITS), labels)
    found = evaluation.evaluate(loaded.model, parts, loaded.info["predict_views"])
    files.write_json(METRICS, found.metrics)
    files.write_text(CONFUSION, found.confusion.to_csv(index=False, lineterminator="\n"))
    plots.confusion_matrix(evaluation.counts(found.confusion, labels), labels, PICTURE)
    for name, scores in found.metrics.items():
        if name == "note":
            print(scores)
        else:
            print(
                f"{name}: accuracy {scores['accuracy']:.3f}, macro-F1 {scores['macro_f1']:.3f} "
                f"({scores['samples']} samples)"
            )


if __name__ == "__main__":
    run(main)
