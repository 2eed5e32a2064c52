"""Scores the finetuned model, beside baselines on the same split, with intervals and calibration.

    python -m stages.evaluate

Reads `data/features/`, `data/splits.csv` and `models/stage2/`; writes `metrics/evaluate.json`,
`plots/confusion.csv` and `.png`, `plots/reliability.csv`, `plots/risk_coverage.csv`, and a row a test
sample in `data/evaluation/test.csv`, for the report's gallery.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse import params, recipe
from sentifuse.numerics import Numerics
from sentifuse.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
MODEL = Path("models/stage2")
METRICS = Path("metrics/evaluate.json")
PLOTS = Path("plots")
SAMPLES = Path("data/evaluation/test.csv")


@dataclass(frozen=True)
class Evaluate:
    """The section `evaluate`."""

    __pydantic_config__ = params.STRICT
    finetune: bool
    bins: params.PositiveInt


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    seed: params.Seed
    fusion: recipe.Fusion
    image_views: recipe.ImageViews
    head: recipe.Head
    loss: recipe.Loss
    stage1: recipe.Stage1
    stage2: recipe.Stage2
    interval: recipe.Interval
    evaluate: Evaluate


def main(p: Params) -> None:
    """Trains text alone and image alone by the same recipe, and writes what all of them reach."""
    from sentifuse import (
        checkpoint,
        dataset,
        evaluation,
        features,
        files,
        metrics,
        plots,
        splits,
        variants,
    )

    loaded = checkpoint.load(MODEL)
    labels = loaded.model.config.labels
    setting = variants.Setting(
        features=FEATURES,
        splits=SPLITS,
        labels=labels,
        head=p.head,
        loss=p.loss,
        image_views=p.image_views,
        stage1=p.stage1,
        stage2=p.stage2,
        finetune=p.evaluate.finetune,
        resplit=None,
    )
    parts = dataset.load_parts(features.read(FEATURES), splits.read(SPLITS), labels)
    alone = [(variants.of_mode(p.fusion, mode), p.seed) for mode in ("text_only", "image_only")]
    unimodal = variants.train_all("baselines", setting, alone if len(parts.test) else [])
    scale = evaluation.Scale(p.interval, p.evaluate.bins, p.seed)
    found = evaluation.evaluate(loaded, parts, unimodal, scale)
    # What the model was trained in, which `auto` leaves to the machine.
    precision = loaded.info["training"][0]["precision"]
    files.write_json(METRICS, {"precision": precision, **found.metrics})
    files.write_csv(SAMPLES, found.samples)
    for name in ("confusion", "reliability", "risk_coverage"):
        files.write_csv(PLOTS / f"{name}.csv", getattr(found, name))
    actual, predicted = (list(found.confusion[name]) for name in ("actual", "predicted"))
    matrix = metrics.confusion_by_name(actual, predicted, labels)
    plots.save(plots.confusion_matrix(matrix, labels), PLOTS / "confusion.png")
    print(evaluation.told(found.metrics))


if __name__ == "__main__":
    run_stage(main, Params)
