"""Test samples that have a twin in train, and what the model scores without them.

A model can repeat what it has learnt by heart from a twin. A split that keeps groups together has none; one
that was published, or that ignores groups, may have many.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from sentifuse.config.recipe import IntervalOptions
from sentifuse.data.duplicates import LINKS
from sentifuse.evaluation.answers import Answers
from sentifuse.metrics import bootstrap
from sentifuse.metrics.scores import COMPARED, headline

# A twin of any kind, also one that is linked through other samples of its group.
ANY = "any"


def in_train(guids: Sequence[str], duplicates: pd.DataFrame) -> pd.DataFrame:
    """Whether each sample has a twin in train: one bool column for each kind of `LINKS`, and `ANY`.

    Args:
        guids: of N samples.
        duplicates: as of `duplicates.table`, all strings.
    """
    train = duplicates[duplicates["split"] == "train"]
    own = duplicates.set_index("guid").reindex(list(guids), fill_value="")
    columns = {**LINKS, ANY: "group"}
    return pd.DataFrame(
        {kind: own[column].isin(set(train[column]) - {""}) for kind, column in columns.items()}
    )


def scores(
    answers: Answers, duplicates: pd.DataFrame, interval: IntervalOptions, *, seed: int
) -> dict[str, Any]:
    """Kind of twin -> `samples`, how many test samples have one in train, and the scores `without` them.

    `without` has the scores `COMPARED` with their `interval`. It is missing where no sample is left out, for
    the scores are those of the test part then, and where none is left.
    """
    out: dict[str, Any] = {}
    for kind, has_twin in in_train(answers.guids, duplicates).items():
        left = ~has_twin.to_numpy()
        out[str(kind)] = {"samples": int((~left).sum())}
        if left.any() and not left.all():
            targets, predicted = answers.targets[left], answers.predicted[left]
            classes = len(answers.labels)
            drawn = bootstrap.scores(targets, predicted[None], classes, interval, seed)
            ends = {
                name: asdict(bootstrap.interval(drawn[name][:, 0], interval.level))
                for name in COMPARED
            }
            out[str(kind)]["without"] = headline(targets, predicted, classes, COMPARED) | {
                "interval": ends
            }
    return out
