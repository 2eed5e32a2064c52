"""The raw data set as a whole: label files and the files that they name, and what is usable of it.

The layout is that of the course's data: `ROOT/data/{guid}.jpg|.jpeg|.png|.webp`, `ROOT/data/{guid}.txt`, and
the label files `ROOT/train.txt` and `ROOT/test_without_label.txt`. Suffixes may be in upper case.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sentifuse.data import bad_samples, inspection, label_files, manifest
from sentifuse.data.bad_samples import Problem
from sentifuse.data.splits import LabelRow


@dataclass(frozen=True)
class RawData:
    """All that there is."""

    labels: label_files.LabelTable
    samples: pd.DataFrame  # `inspection.COLUMNS`, of the rows that name files
    problems: list[Problem]
    notes: list[Problem]


@dataclass(frozen=True)
class Usable:
    """What to work with."""

    labelled: list[LabelRow]  # those whose image and text are both usable
    predict: list[LabelRow]  # all, in the order of the test file
    samples: pd.DataFrame  # those of these with an image or a text, as in `RawData`
    no_input: frozenset[str]  # guids of the rows to predict that have neither
    report: dict[str, Any]  # counts for `metrics/data.json`


def read(root: Path, labels: tuple[str, ...]) -> RawData:
    """Reads every file of the data set; a labelled row may have the tags `labels`.

    Raises:
        UserError: no such folder, or label files that cannot be read as such.
    """
    found = label_files.read(root, labels)
    # The test file may name a sample twice.
    guids = dict.fromkeys(row.guid for row in [*found.labelled, *found.predict])
    files = inspection.inspect(root, list(filter(label_files.is_safe, guids)))
    return RawData(found, files.samples, [*found.problems, *files.problems], files.notes)


def usable(
    data: RawData, root: Path, labels: tuple[str, ...], policy: Literal["error", "skip"]
) -> Usable:
    """Applies the policy for bad samples, `data.on_bad_sample`: `error` stops with the list.

    `skip` leaves bad labelled rows out; rows to predict stay, and are predicted from what they have.

    Raises:
        UserError: a bad sample with the policy `error`; a label without a usable row.
    """
    # Before the bad rows: with a wrong list of labels most rows are bad.
    label_files.check_labels(root, data.labels.labelled, labels)
    if policy == "error":
        bad_samples.refuse(root, data.problems)
    lacks = manifest.missing(data.samples)
    labelled = [row for row in data.labels.labelled if not lacks[row.guid]]
    label_files.check_labels(root, labelled, labels)
    predict = data.labels.predict
    missing = {row.guid: lacks.get(row.guid, "image+text") for row in predict}
    no_input = frozenset(guid for guid, kind in missing.items() if kind == "image+text")
    kept = {row.guid for row in labelled} | (set(missing) - no_input)
    predicted_without = Counter(missing[row.guid] for row in predict)
    return Usable(
        labelled=labelled,
        predict=predict,
        samples=data.samples[data.samples["guid"].isin(kept)].reset_index(drop=True),
        no_input=no_input,
        report={
            "labelled_left_out": data.labels.train_rows - len(labelled),
            "predicted_without": {
                kind: predicted_without[kind] for kind in ("image", "text", "image+text")
            },
            "reasons": bad_samples.counts(data.problems),
            "notes": bad_samples.counts(data.notes),
        },
    )
