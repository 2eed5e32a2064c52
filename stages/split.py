"""Lists the samples and says which are for training, validation, test and prediction.

    python -m stages.split

Reads `${data.root}`; writes `data/manifest.csv` (which files, with their hashes; knows no labels and
no seed, so that another split re-uses all features), `data/splits.csv`, `data/duplicates.csv` (samples
that share a picture or a text) and `metrics/data.json` (counts of both).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse import params, recipe
from sentifuse.errors import run

MANIFEST = Path("data/manifest.csv")
SPLITS = Path("data/splits.csv")
DUPLICATES = Path("data/duplicates.csv")
METRICS = Path("metrics/data.json")


@dataclass(frozen=True)
class Data:
    """The section `data`."""

    __pydantic_config__ = params.STRICT
    root: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    labels: params.Labels
    data: Data
    split: recipe.Split


def main() -> None:
    """Writes the manifest, the split table, the duplicates and the counts."""
    p = params.load(Params)
    from sentifuse import duplicates, files, manifest, splits

    root = Path(p.data.root)
    labelled, predict = manifest.read_labels(root, p.labels)
    split = partial(
        splits.make,
        labelled,
        predict,
        seed=p.split.seed,
        val_size=p.split.val_size,
        test_size=p.split.test_size,
    )
    ungrouped = split({})
    samples = manifest.build(root, list(ungrouped["guid"]))
    found = duplicates.find(samples)
    table = split(duplicates.groups(found)) if p.split.group_duplicates else ungrouped
    report = duplicates.report(found, table, ungrouped)
    manifest.write(samples, MANIFEST)
    splits.write(table, SPLITS)
    splits.write(duplicates.table(found, table), DUPLICATES)
    files.write_json(METRICS, {"samples": splits.counts(table), "duplicates": report})
    shown = table.replace({"label": {"": "unlabelled"}})
    print(shown.groupby(["split", "label"]).size().unstack(fill_value=0).to_string())
    print(duplicates.summary(report))


if __name__ == "__main__":
    run(main)
