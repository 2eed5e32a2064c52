"""Trains fusion and head on the cached embeddings; the encoders stay frozen.

    python -m stages.train_stage1

Reads `data/features/` and `data/splits.csv`; writes `models/stage1/` and `plots/stage1.csv`.
After a kill it goes on from the last finished epoch, which `.sentifuse/resume/` keeps.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params, recipe
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
OUT = Path("models/stage1")
HISTORY = Path("plots/stage1.csv")


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

    def __post_init__(self) -> None:
        recipe.check_mode(self.fusion, self.input_mode)
        self.loss.check_labels(self.labels)


def main(p: Params) -> None:
    """Trains, and writes the checkpoint with the best macro-F1 on validation."""
    from sentifuse.data import splits
    from sentifuse.features import schema
    from sentifuse.features.parts import load_parts
    from sentifuse.models import checkpoint
    from sentifuse.runtime import devices, precision, scratch
    from sentifuse.training import history
    from sentifuse.training.loop import Hooks
    from sentifuse.training.resume import Resume
    from sentifuse.training.two_stage import train_stage1

    device = devices.ready(p.device, p.numerics)
    precision.warn_if_slow("stage1.precision", p.stage1.precision, device)
    parts = load_parts(schema.read(FEATURES), splits.read(SPLITS), p.labels)
    how = recipe.Recipe(
        p.fusion, p.input_mode, p.head, p.loss, p.image_views, p.stage1, stage2=None
    )
    resume = Resume(scratch.folder("resume"))
    with history.shown("stage 1", p.stage1.epochs) as on_epoch:
        hooks = Hooks(on_epoch, resume)
        model, fitted = train_stage1(how, parts, seed=p.seed, device=device, hooks=hooks)
    if p.loss.noise != "none":
        count = len(parts.train)
        print(
            f"loss.noise: {p.loss.noise}: {fitted.doubted} of {count} training labels are doubted"
        )
    history.write(fitted, HISTORY)
    checkpoint.save(OUT, model, history.info([fitted], p.image_views.predict))
    resume.clear()


if __name__ == "__main__":
    run_stage(main, Params)
