"""Measures what each modality contributes: trains without one of them, over several splits and seeds.

    python -m stages.ablate

Reads `data/features/` and `data/splits.csv`; writes `metrics/ablate.json`, `plots/ablate.csv` (the
means, for bars), `plots/ablate_runs.csv` (every run), `plots/ablate.png`, `data/ablation/classes.csv`
(F1 and recall of each class) and `data/ablation/samples.csv` (how often each sample was predicted right).
"""

from dataclasses import dataclass
from pathlib import Path

from sentifuse.config import params, recipe
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
METRICS = Path("metrics/ablate.json")
BARS = Path("plots/ablate.csv")
RUNS = Path("plots/ablate_runs.csv")
PICTURE = Path("plots/ablate.png")
CLASSES = Path("data/ablation/classes.csv")
SAMPLES = Path("data/ablation/samples.csv")


@dataclass(frozen=True)
class Ablate:
    """The section `ablate`."""

    __pydantic_config__ = params.STRICT
    repeats: params.PositiveInt
    resplit: bool
    finetune: bool
    modes: tuple[recipe.InputMode, ...]
    fusions: tuple[recipe.Fusion, ...]


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    seed: params.Seed
    split: recipe.Split
    labels: params.ClassNames
    fusion: recipe.Fusion
    image_views: recipe.ImageViews
    head: recipe.Head
    loss: recipe.Loss
    stage1: recipe.Stage1
    stage2: recipe.Stage2
    interval: recipe.IntervalOptions
    ablate: Ablate

    def __post_init__(self) -> None:
        self.loss.check_labels(self.labels)


def main(p: Params) -> None:
    """Trains every variant `ablate.repeats` times; writes means, deviations and paired differences."""
    from sentifuse.data import splits
    from sentifuse.evaluation import ablation, plots, rescued, variants
    from sentifuse.runtime import devices, files

    stage2 = p.stage2 if p.ablate.finetune else None
    how = recipe.Recipe(p.fusion, "multimodal", p.head, p.loss, p.image_views, p.stage1, stage2)
    resplit = (p.split.val_size, p.split.test_size) if p.ablate.resplit else None
    device = devices.choose(p.device, p.numerics)
    setting = variants.RunSetting(FEATURES, SPLITS, p.labels, how, resplit, device)
    seeds = [p.seed + repeat for repeat in range(p.ablate.repeats)]
    wanted = ablation.variants(p.fusion, p.ablate.modes, p.ablate.fusions)
    tested = (splits.read(SPLITS)["split"] == "test").any()
    jobs = [variants.Job(variant, seed) for variant in wanted for seed in seeds] if tested else []
    runs = variants.train_all("ablate", setting, jobs)
    found = ablation.differences(runs, p.labels, p.interval, seed=p.seed)
    samples = rescued.table(runs, p.labels)
    summary = ablation.summary(runs, found, samples, p.interval.level)
    files.write_json(METRICS, summary or {"note": ablation.NOTE})
    files.write_csv(BARS, ablation.means(summary))
    files.write_csv(RUNS, ablation.table(runs))
    files.write_csv(CLASSES, ablation.classes(runs, p.labels, found))
    files.write_csv(SAMPLES, samples)
    plots.save(plots.ablation(ablation.scores(runs, "macro_f1"), "macro-F1"), PICTURE)
    print(ablation.told(summary))


if __name__ == "__main__":
    run_stage(main, Params)
