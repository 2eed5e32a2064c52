"""Lists the samples and says which are for training, validation, test and prediction.

    python -m stages.split

Reads `${data.root}`; writes `data/manifest.csv` (which files, with their hashes; knows no labels and
no seed, so that another split re-uses all features), `data/splits.csv`, `data/duplicates.csv` (samples
that share a picture or a text), `data/bad_samples.csv` (what is wrong, where `data.on_bad_sample` is not
`error`), `data/folds.csv` (the parts in each fold, where there are several; `data/splits.csv` has those of
the first one), `data/modality_labels.csv` (what annotators said of one modality alone) and
`metrics/data.json` (counts).
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
FOLDS = Path("data/folds.csv")
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
    """Writes the manifest, the split table, the folds, the duplicates, the bad samples and the counts."""
    from sentifuse.data import (
        bad_samples,
        duplicates,
        fold_table,
        folds,
        manifest,
        modality_labels,
        raw_data,
        splits,
    )
    from sentifuse.data import published_splits as published
    from sentifuse.runtime import files

    # Before the data, which take longer.
    named = published.read(Path(p.split.file)) if p.split.file else []
    source = str(p.split.file)
    root = Path(p.data.root)
    raw = raw_data.read(root, p.labels, p.data.columns)
    data = raw_data.usable(raw, root, p.labels, p.data.on_bad_sample)
    if raw.listing.parts and not named and not p.split.folds:
        named = [raw.listing.parts]
        source = (
            f"{raw.listing.source}: {p.data.columns.split} (data.columns.split=null ignores it)"
        )
    passed_over = published.unknown(named, data.labelled)
    if p.data.on_bad_sample == "error":
        published.refuse(source, passed_over)

    def split(groups: Mapping[str, str]) -> "list[pd.DataFrame]":
        return [
            splits.table(data.labelled, parts, data.predict, groups, data.no_input)
            for parts in folds.make(data.labelled, groups, p.split, named, source)
        ]

    ungrouped = split({})
    found = duplicates.find(data.samples)
    groups = dict(zip(found["guid"], found["group"], strict=True))
    tables = split(groups) if p.split.group_duplicates else ungrouped
    report = duplicates.report(found, tables, [] if named else ungrouped)
    table = tables[0]
    manifest.write(data.samples, MANIFEST)
    files.write_csv(SPLITS, table)
    files.write_csv(FOLDS, fold_table.make(tables))
    files.write_csv(DUPLICATES, duplicates.table(found, table))
    files.write_csv(BAD_SAMPLES, bad_samples.table(raw.problems))
    files.write_csv(MODALITY_LABELS, modality_labels.table(raw.listing.modality_labels))
    counts = {
        "protocol": {
            "published": bool(named),
            "folds": len(tables),
            "ids_passed_over": len(passed_over),
        },
        "samples": splits.counts(table),
        "duplicates": report,
        "bad_samples": data.report,
    }
    files.write_json(METRICS, counts)
    shown = table.replace({"label": {"": "unlabelled"}})
    print(shown.groupby(["split", "label"]).size().unstack(fill_value=0).to_string())
    print(duplicates.summary(report))


if __name__ == "__main__":
    run_stage(main, Params)
