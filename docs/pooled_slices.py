"""Prints where the model fails, pooled over ten fresh splits (docs/experiments.md).

    python -m docs.pooled_slices

Reads `params.yaml` and what `split` and `preprocess` wrote; trains the model and both models of one modality,
with frozen encoders, on the splits with the seeds 101-110. Each sample counts once, with the answers of the
first split that tests it.
"""

from typing import TYPE_CHECKING

import numpy as np

from sentifuse.config import recipe
from sentifuse.runtime import process
from stages import ablate, evaluate

if TYPE_CHECKING:
    from sentifuse.evaluation.answers import Answers
    from sentifuse.evaluation.variants import Run

SEEDS = range(101, 111)
MODES: tuple[recipe.InputMode, ...] = ("multimodal", "text_only", "image_only")


def main(p: ablate.Params) -> None:
    """Trains, pools, and prints the slices and the oracle."""
    from sentifuse.data import duplicates, manifest, modality_labels
    from sentifuse.evaluation import ablation, describing, failures, variants
    from sentifuse.features import schema

    how = recipe.Recipe(p.fusion, "multimodal", p.head, p.loss, p.image_views, p.stage1, None)
    shares = (p.split.val_size, p.split.test_size)
    setting = variants.RunSetting(ablate.FEATURES, ablate.SPLITS, p.labels, how, shares)
    wanted = ablation.variants(p.fusion, MODES, ())
    jobs = [(variant, seed) for variant in wanted for seed in SEEDS]
    answers = pooled(p, variants.train_all("pooled", setting, jobs))
    about = describing.About(
        describing.texts(manifest.read(evaluate.MANIFEST), answers.guids),
        describing.in_picture(schema.read(ablate.FEATURES), answers.guids),
        # Each split has another part in train; as they keep groups together, nobody has a twin there.
        duplicates.read(evaluate.DUPLICATES).assign(split=""),
        modality_labels.read(evaluate.MODALITY_LABELS),
    )
    found = failures.find(answers, about, p.interval, seed=p.seed)
    print(found.slices.round(3).to_string())
    print(found.metrics["oracle"])
    for name, given in answers.given.items():
        print(f"{name}: {len(given)} samples, accuracy {np.mean(given == answers.targets):.3f}")


def pooled(p: ablate.Params, runs: "list[Run]") -> "Answers":
    """The answers of all runs side by side."""
    from sentifuse.evaluation.answers import MODEL, Answers

    of = {mode: [run.trial for run in runs if run.variant.name == mode] for mode in MODES}
    guids, first = np.unique(
        np.concatenate([trial.guids for trial in of["multimodal"]]), return_index=True
    )
    targets = np.concatenate([trial.targets for trial in of["multimodal"]])[first]
    given = {
        MODEL if mode == "multimodal" else mode: np.concatenate([own.predicted for own in trials])
        for mode, trials in of.items()
    }
    return Answers(
        p.labels, guids.tolist(), targets, {name: own[first] for name, own in given.items()}
    )


if __name__ == "__main__":
    process.run_stage(main, ablate.Params)
