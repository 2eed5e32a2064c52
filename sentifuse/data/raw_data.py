"""The raw data set as a whole: what it lists, the images and texts, and what is usable of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sentifuse.config.recipe import Columns
from sentifuse.data import bad_samples, inspection, label_rows, layouts, manifest
from sentifuse.data.bad_samples import Problem
from sentifuse.data.listing import Listing
from sentifuse.data.splits import LabelRow


@dataclass(frozen=True)
class RawData:
    """All that there is."""

    listing: Listing
    samples: pd.DataFrame  # `inspection.COLUMNS`, of the rows with a sound guid
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


def read(root: Path, labels: Sequence[str], columns: Columns) -> RawData:
    """Reads every image and text of the data set; a labelled row may have the tags `labels`.

    Raises:
        UserError: as `layouts.read`.
    """
    listing = layouts.read(root, labels, columns)
    rows = listing.rows
    # Those to predict may name a sample twice.
    guids = dict.fromkeys(row.guid for row in [*rows.labelled, *rows.predict])
    found = inspection.inspect(root, list(filter(label_rows.is_safe, guids)), listing.find)
    return RawData(listing, found.samples, [*rows.problems, *found.problems], found.notes)


def usable(
    data: RawData, root: Path, labels: Sequence[str], policy: Literal["error", "skip"]
) -> Usable:
    """Applies the policy for bad samples, `data.on_bad_sample`: `error` stops with the list.

    `skip` leaves bad labelled rows out; rows to predict stay, and are predicted from what they have.

    Raises:
        UserError: a bad sample with the policy `error`; a label without a usable row.
    """
    # Before the bad rows: with a wrong list of labels most rows are bad.
    rows = data.listing.rows
    label_rows.check_labels(data.listing.source, rows.labelled, labels)
    if policy == "error":
        bad_samples.refuse(root, data.problems)
    lacks = manifest.missing(data.samples)
    labelled = [row for row in rows.labelled if not lacks[row.guid]]
    label_rows.check_labels(data.listing.source, labelled, labels)
    predict = rows.predict
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
            "labelled_left_out": rows.train_rows - len(labelled),
            "predicted_without": {
                kind: predicted_without[kind] for kind in ("image", "text", "image+text")
            },
            "reasons": bad_samples.counts(data.problems),
            "notes": bad_samples.counts(data.notes),
        },
    )
