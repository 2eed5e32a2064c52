"""Finetunes the last encoder layers together with fusion and head, from stage 1's checkpoint.

    python -m stages.train_stage2

Reads `data/features/`, `data/splits.csv` and `models/stage1/`; writes `models/stage2/` and
`plots/stage2.csv`. How many layers are finetuned was decided in `preprocess`, which kept the states
that enter them. After a kill it goes on from the last finished epoch, which `.sentifuse/resume/` keeps.
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params, recipe
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
STAGE1 = Path("models/stage1")
OUT = Path("models/stage2")
HISTORY = Path("plots/stage2.csv")


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    seed: params.Seed
    image_views: recipe.ImageViews
    loss: recipe.Loss
    stage2: recipe.Stage2


def main(p: Params) -> None:
    """Finetunes, and writes the weights with the best macro-F1 on validation, and a temperature.

    The checkpoint has all members; the history has the epochs of the first one.
    """
    from sentifuse.data import splits
    from sentifuse.features import schema
    from sentifuse.features.parts import load_parts
    from sentifuse.metrics import calibration
    from sentifuse.models import checkpoint, inference
    from sentifuse.runtime import devices, precision, scratch
    from sentifuse.training import history
    from sentifuse.training.loop import Hooks
    from sentifuse.training.resume import Resume
    from sentifuse.training.two_stage import tail_weights, train_stage2

    device = devices.ready(p.device, p.numerics)
    precision.warn_if_slow("stage2.precision", p.stage2.precision, device)
    data = schema.read(FEATURES)
    start = checkpoint.load(STAGE1).single().to(device)
    parts = load_parts(data, splits.read(SPLITS), start.config.labels)
    weights = tail_weights(FEATURES, data.meta)
    how = recipe.StageRecipe(p.loss, p.image_views, p.stage2)
    resume = Resume(scratch.folder("resume"))
    with history.shown("stage 2", p.stage2.members * p.stage2.epochs) as on_epoch:
        hooks = Hooks(on_epoch, resume)
        model, members = train_stage2(start, weights, parts, how, seed=p.seed, hooks=hooks)
    history.write(members[0], HISTORY)
    # The temperature is fitted on validation, which also chose the best epoch.
    logits = inference.predict(model, parts.val, p.image_views.predict)
    temperature = calibration.fit_temperature(logits.numpy(), parts.val.targets.numpy())
    checkpoint.save(OUT, model, history.info(members, p.image_views.predict, temperature))
    resume.clear()


if __name__ == "__main__":
    run_stage(main, Params)
