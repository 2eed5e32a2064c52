"""Where a model fails on its test part: slices, twins in train, and an oracle that chooses the modality."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import describing, oracle, slices, twins
from sentifuse.evaluation.answers import Answers
from sentifuse.evaluation.describing import About


@dataclass(frozen=True)
class Failures:
    """What `find` found.

    Attributes:
        metrics: what is more to say of the test part: `slices`, as of `slices.summary`; `oracle`, as of
            `oracle.scores`, where it has any; `twins_in_train`, as of `twins.scores`. Nothing without one.
        slices: as of `slices.table`; no rows without a test part.
    """

    metrics: Mapping[str, Any]
    slices: pd.DataFrame


def find(answers: Answers, about: About, interval: IntervalOptions, *, seed: int) -> Failures:
    """Looks at the answers on a test part, which may be empty; `seed` is that of the bootstrap."""
    if not len(answers.guids):
        return Failures({}, pd.DataFrame(columns=slices.COLUMNS))
    table = slices.table(describing.describe(answers, about), answers, interval, seed=seed)
    metrics = {
        "slices": slices.summary(table),
        "oracle": oracle.scores(answers, interval.level),
        "twins_in_train": twins.scores(answers, about.duplicates, interval, seed=seed),
    }
    return Failures({name: found for name, found in metrics.items() if found}, table)


def told(failures: Failures) -> str:
    """The line that says what was found; without a test part there is none."""
    return slices.told(failures.metrics["slices"]) if failures.metrics else ""
