"""Scores the finetuned model, beside baselines on the same split, with intervals and calibration.

    python -m stages.evaluate

Reads `data/features/`, `data/splits.csv`, `data/baselines/` and `models/stage2/`, and, for the slices of the
test part, `data/manifest.csv` with the texts that it names, `data/duplicates.csv` and
`data/modality_labels.csv`; writes `metrics/evaluate.json`, `plots/confusion.csv` and `.png`,
`plots/reliability.csv`, `plots/risk_coverage.csv`, one row per test sample in `data/evaluation/test.csv`, for
the report's gallery, and one per slice in `data/evaluation/slices.csv`.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params, recipe
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
MODEL = Path("models/stage2")
BASELINES = Path("data/baselines")
MANIFEST = Path("data/manifest.csv")
DUPLICATES = Path("data/duplicates.csv")
MODALITY_LABELS = Path("data/modality_labels.csv")
METRICS = Path("metrics/evaluate.json")
PLOTS = Path("plots")
SAMPLES = Path("data/evaluation/test.csv")
SLICES = Path("data/evaluation/slices.csv")


@dataclass(frozen=True)
class Evaluate:
    """The section `evaluate`."""

    __pydantic_config__ = params.STRICT
    bins: params.PositiveInt


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    seed: params.Seed
    interval: recipe.IntervalOptions
    evaluate: Evaluate


def main(p: Params) -> None:
    """Writes what the model and the baselines reach on the same samples."""
    from sentifuse.data import duplicates, manifest, modality_labels, splits
    from sentifuse.evaluation import baselines, describing, failures, plots
    from sentifuse.evaluation import evaluate as evaluation
    from sentifuse.features import schema
    from sentifuse.features.parts import load_parts
    from sentifuse.metrics import scores
    from sentifuse.models import checkpoint
    from sentifuse.runtime import files

    loaded = checkpoint.load(MODEL)
    labels = loaded.model.config.labels
    data = schema.read(FEATURES)
    parts = load_parts(data, splits.read(SPLITS), labels)
    scale = evaluation.Scale(p.interval, p.evaluate.bins, p.seed)
    others = baselines.read(BASELINES, len(parts.test))
    found = evaluation.evaluate(loaded, parts, others, scale)
    guids = parts.test.guids
    about = describing.About(
        describing.texts(manifest.read(MANIFEST), guids),
        describing.in_picture(data, guids),
        duplicates.read(DUPLICATES),
        modality_labels.read(MODALITY_LABELS),
    )
    failed = failures.find(found.answers, about, p.interval, seed=p.seed)
    # How the model was trained: with `auto` that depends on the machine.
    trained = {name: loaded.info["training"][0][name] for name in ("device", "precision")}
    if "test" in found.metrics:
        found.metrics["test"] |= failed.metrics
    files.write_json(METRICS, {**trained, **found.metrics})
    files.write_csv(SAMPLES, found.samples)
    files.write_csv(SLICES, failed.slices)
    for name in ("confusion", "reliability", "risk_coverage"):
        files.write_csv(PLOTS / f"{name}.csv", getattr(found, name))
    actual, predicted = (list(found.confusion[name]) for name in ("actual", "predicted"))
    matrix = scores.confusion_by_name(actual, predicted, labels)
    plots.save(plots.confusion_matrix(matrix, labels), PLOTS / "confusion.png")
    print(evaluation.summary(found.metrics))
    print(failures.told(failed), end="\n" if failed.metrics else "")


if __name__ == "__main__":
    run_stage(main, Params)
