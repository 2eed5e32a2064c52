"""Lists the samples and says which are for training, validation, test and prediction.

    python -m stages.split

Reads `${data.root}`; writes `data/manifest.csv` (which files, with their hashes; knows no labels and
no seed, so that another split re-uses all features), `data/splits.csv`, `data/duplicates.csv` (samples
that share a picture or a text), `data/bad_samples.csv` (what is wrong, where `data.on_bad_sample` is not
`error`), `data/modality_labels.csv` (what annotators said of one modality alone) and `metrics/data.json`
(counts).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.config import params, recipe
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = Path("data/manifest.csv")
SPLITS = Path("data/splits.csv")
DUPLICATES = Path("data/duplicates.csv")
BAD_SAMPLES = Path("data/bad_samples.csv")
MODALITY_LABELS = Path("data/modality_labels.csv")
METRICS = Path("metrics/data.json")


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    labels: params.ClassNames
    data: recipe.Data
    split: recipe.Split


def main(p: Params) -> None:
    """Writes the manifest, the split table, the duplicates, the bad samples and the counts."""
    from sentifuse.data import (
        bad_samples,
        duplicates,
        manifest,
        modality_labels,
        raw_data,
        splits,
    )
    from sentifuse.runtime import files

    root = Path(p.data.root)
    raw = raw_data.read(root, p.labels, p.data.columns)
    data = raw_data.usable(raw, root, p.labels, p.data.on_bad_sample)

    def split(groups: Mapping[str, str]) -> "pd.DataFrame":
        parts = splits.assign(
            data.labelled,
            groups,
            seed=p.split.seed,
            val_size=p.split.val_size,
            test_size=p.split.test_size,
        )
        return splits.table(data.labelled, parts, data.predict, groups, data.no_input)

    ungrouped = split({})
    found = duplicates.find(data.samples)
    groups = dict(zip(found["guid"], found["group"], strict=True))
    table = split(groups) if p.split.group_duplicates else ungrouped
    report = duplicates.report(found, table, ungrouped)
    manifest.write(data.samples, MANIFEST)
    files.write_csv(SPLITS, table)
    files.write_csv(DUPLICATES, duplicates.table(found, table))
    files.write_csv(BAD_SAMPLES, bad_samples.table(raw.problems))
    files.write_csv(MODALITY_LABELS, modality_labels.table(raw.listing.modality_labels))
    counts = {"samples": splits.counts(table), "duplicates": report, "bad_samples": data.report}
    files.write_json(METRICS, counts)
    shown = table.replace({"label": {"": "unlabelled"}})
    print(shown.groupby(["split", "label"]).size().unstack(fill_value=0).to_string())
    print(duplicates.summary(report))


if __name__ == "__main__":
    run_stage(main, Params)
