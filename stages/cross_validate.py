"""Trains the recipe on every fold, so that each test part is predicted by a model that never saw it.

    python -m stages.cross_validate

Reads `data/features/`, `data/splits.csv` and `data/folds.csv`; writes `metrics/folds.json` (scores of each
fold, over the folds, and of all predictions pooled), `plots/folds.csv` (the scores of each fold) and
`data/cross_validation/predictions.csv` (the probabilities for every sample that a fold tests). With one split
there are no folds: it writes a note, and tables without rows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.config import params, recipe
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

if TYPE_CHECKING:
    from sentifuse.training.trial import Trial

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
FOLDS = Path("data/folds.csv")
METRICS = Path("metrics/folds.json")
PLOT = Path("plots/folds.csv")
PREDICTIONS = Path("data/cross_validation/predictions.csv")


@dataclass(frozen=True)
class CrossValidate:
    """The section `cross_validate`."""

    __pydantic_config__ = params.STRICT
    finetune: bool


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    seed: params.Seed
    labels: params.ClassNames
    fusion: recipe.Fusion
    input_mode: recipe.InputMode
    image_views: recipe.ImageViews
    head: recipe.Head
    loss: recipe.Loss
    stage1: recipe.Stage1
    stage2: recipe.Stage2
    interval: recipe.IntervalOptions
    cross_validate: CrossValidate

    def __post_init__(self) -> None:
        self.loss.check_labels(self.labels)
        recipe.check_mode(self.fusion, self.input_mode)


def main(p: Params) -> None:
    """Writes what the recipe reaches over the folds."""
    from sentifuse.data import fold_table
    from sentifuse.evaluation import cross_validation
    from sentifuse.runtime import files

    count = fold_table.read(FOLDS)["fold"].nunique()
    trials = _train(p, count) if count else []
    table = cross_validation.by_fold(trials, p.labels)
    predicted = cross_validation.predictions(trials, p.labels)
    found = cross_validation.measure(table, predicted, p.labels, p.interval, seed=p.seed)
    files.write_json(METRICS, found)
    files.write_csv(PLOT, table)
    files.write_csv(PREDICTIONS, predicted)
    print(cross_validation.told(found))


def _train(p: Params, count: int) -> "list[Trial]":
    """One trial for each fold. Fold 0 is trained as the model of the pipeline is: same split, same seed."""
    # Late: with one split torch is not needed.
    from sentifuse.evaluation import variants
    from sentifuse.runtime import devices

    device = devices.choose(p.device, p.numerics)
    stage2 = p.stage2 if p.cross_validate.finetune else None
    how = recipe.Recipe(p.fusion, p.input_mode, p.head, p.loss, p.image_views, p.stage1, stage2)
    setting = variants.RunSetting(
        FEATURES, SPLITS, p.labels, how, resplit=None, device=device, folds=FOLDS
    )
    variant = variants.Variant("recipe", p.fusion, p.input_mode)
    jobs = [variants.Job(variant, p.seed + fold, fold) for fold in range(count)]
    return [run.trial for run in variants.train_all("folds", setting, jobs)]


if __name__ == "__main__":
    run_stage(main, Params)
