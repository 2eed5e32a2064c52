"""Trains what the model is compared with: text alone, image alone, and logistic regressions.

    python -m stages.train_baselines

Reads `data/features/` and `data/splits.csv`; writes `data/baselines/`, their probabilities on the test part.
With CLIP there is also its answer without any training.
They do not depend on the fusion, so an experiment with another one does not train them again.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params, recipe
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
OUT = Path("data/baselines")


@dataclass(frozen=True)
class Baselines:
    """The section `baselines`."""

    __pydantic_config__ = params.STRICT
    finetune: bool


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    seed: params.Seed
    labels: params.ClassNames
    image_views: recipe.ImageViews
    head: recipe.Head
    loss: recipe.Loss
    stage1: recipe.Stage1
    stage2: recipe.Stage2
    baselines: Baselines

    def __post_init__(self) -> None:
        self.loss.check_labels(self.labels)


def main(p: Params) -> None:
    """Trains, and writes the probabilities of each; without a test part there are none."""
    from sentifuse.data import splits
    from sentifuse.evaluation import baselines, variants
    from sentifuse.features import schema
    from sentifuse.features.parts import load_parts
    from sentifuse.runtime import devices

    parts = load_parts(schema.read(FEATURES), splits.read(SPLITS), p.labels)
    # A model of one modality has nothing to fuse: the plainest fusion does.
    jobs = [variants.Job(variants.of_mode("concat", mode), p.seed) for mode in baselines.UNIMODAL]
    stage2 = p.stage2 if p.baselines.finetune else None
    how = recipe.Recipe("concat", "multimodal", p.head, p.loss, p.image_views, p.stage1, stage2)
    device = devices.choose(p.device, p.numerics)
    setting = variants.RunSetting(FEATURES, SPLITS, p.labels, how, None, device)
    found = {}
    if len(parts.test):
        runs = variants.train_all("baselines", setting, jobs)
        found = {run.variant.name: run.trial.probabilities for run in runs}
        found["majority"] = baselines.majority(parts)
        views = p.image_views.predict
        found["logistic_regression"] = baselines.logistic_regression(parts, views, p.seed)
        described = schema.read_described(FEATURES)
        if described is not None:
            probed = [described.image]
            found["linear_probe"] = baselines.logistic_regression(parts, views, p.seed, probed)
            found |= baselines.zero_shot(parts, views, described)
    baselines.write(OUT, found)
    print(f"{OUT}: {', '.join(found) or 'no test part, nothing to train for'}")


if __name__ == "__main__":
    run_stage(main, Params)
