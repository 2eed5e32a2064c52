"""Which samples a modality rescues or breaks, over all runs of an ablation that test them.

A modality *rescues* a sample if the model without it is wrong in most of the runs that test the sample, and
the model with both modalities is right in most of them. It *breaks* a sample the other way round.

Where each run has a split of its own, a sample is tested in some runs only, and often just once. Another seed
of training would then change a part of both counts, so read the two against each other.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sentifuse.config.recipe import InputMode
from sentifuse.evaluation.variants import Run
from sentifuse.metrics import proportions

# Input mode -> the modality that it leaves out.
LEFT_OUT: dict[InputMode, str] = {"text_only": "image", "image_only": "text"}


def table(runs: Sequence[Run], labels: Sequence[str]) -> pd.DataFrame:
    """One row per sample that was tested, by guid.

    Args:
        runs: the same seeds of every variant.
        labels: class names in the order of the logits.

    Returns:
        `guid`; `label`; `tested`, the number of runs of each variant that tested the sample; and for each
        variant `right_NAME`, the number of those that were right.
    """
    names = list(dict.fromkeys(run.variant.name for run in runs))
    label: dict[str, str] = {}
    tested: Counter[str] = Counter()
    right: dict[str, Counter[str]] = {name: Counter() for name in names}
    for run in runs:
        trial, hits = run.trial, run.trial.predicted == run.trial.targets
        right[run.variant.name].update(
            guid for guid, hit in zip(trial.guids, hits, strict=True) if hit
        )
        if run.variant.name == names[0]:
            tested.update(trial.guids)
            label.update(zip(trial.guids, (labels[each] for each in trial.targets), strict=True))
    guids = sorted(tested, key=lambda guid: (len(guid), guid))  # 9 before 10
    rights = {f"right_{name}": [own[guid] for guid in guids] for name, own in right.items()}
    return pd.DataFrame(
        {
            "guid": guids,
            "label": [label[guid] for guid in guids],
            "tested": [tested[guid] for guid in guids],
            **rights,
        }
    )


def counts(samples: pd.DataFrame, full: str, without: str, level: float) -> dict[str, Any]:
    """How many samples a modality rescues and breaks.

    Args:
        samples: as of `table`.
        full: the variant with both modalities.
        without: the variant that leaves it out.
        level: of the intervals, 0..1. They are Wilson's for a share of independent samples: what other
            samples of the same kind would give with these models.

    Returns:
        `samples`, how many there are; `rescued` and `broken` with `count`, and `low` and `high` of it.
    """
    half = samples["tested"] / 2
    whole, part = samples[f"right_{full}"], samples[f"right_{without}"]
    return {
        "samples": len(samples),
        "rescued": _count((whole > half) & (part < half), level),
        "broken": _count((whole < half) & (part > half), level),
    }


def _count(which: "pd.Series[bool]", level: float) -> dict[str, float]:
    found, total = int(which.sum()), len(which)
    around = proportions.wilson((found, total), level)
    return {"count": found, "low": total * around.low, "high": total * around.high}
