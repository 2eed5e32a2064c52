"""The features of a run by part: train, validation, test, and what is to be predicted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch

from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset
from sentifuse.features.schema import Features


@dataclass(frozen=True)
class Parts:
    """The data of a run, by part; any but `train` may be empty.

    `groups` maps the guid of each sample that has near-identical ones to the name of their group.
    """

    labels: Sequence[str]
    train: Dataset
    val: Dataset
    test: Dataset
    predict: Dataset
    groups: Mapping[str, str] = field(default_factory=dict)


def load_parts(features: Features, splits: pd.DataFrame, labels: Sequence[str]) -> Parts:
    """Joins the features with the split table.

    Args:
        features: of every sample in `splits`.
        splits: `guid`, `label`, `split`, `group`; each part keeps the order of its rows.
        labels: class names in the order of the logits.

    Raises:
        UserError: a guid has no features, or `labels` lacks a label.
    """
    number = {label: index for index, label in enumerate(labels)}

    def part(name: str) -> Dataset:
        own = splits["split"] == name
        # `tolist`: going through a column itself takes eight times as long.
        found, guids = splits.loc[own, "label"].tolist(), splits.loc[own, "guid"].tolist()
        check_labels(found, labels)
        targets = torch.tensor([number.get(label, -1) for label in found], dtype=torch.int64)
        return Dataset(features, features.rows(guids), targets, guids)

    shared = splits[splits["group"].duplicated(keep=False)]
    groups = dict(zip(shared["guid"], shared["group"], strict=True))
    return Parts(labels, part("train"), part("val"), part("test"), part("predict"), groups)


def check_labels(found: Iterable[str], labels: Sequence[str]) -> None:
    """Checks that `labels` has all labels that were `found`; an empty one stands for none.

    Raises:
        UserError: it lacks some.
    """
    unknown = set(found) - set(labels) - {""}
    if unknown:
        raise UserError(f"labels: {list(labels)}: the splits have {sorted(unknown)}, too")
