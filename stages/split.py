"""Lists the samples and says which are for training, validation, test and prediction.

    python -m stages.split

Reads `${data.root}`; writes `data/manifest.csv` (which files, with their hashes; knows no labels and
no seed, so that another split re-uses all features) and `data/splits.csv`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse import params, recipe
from sentifuse.errors import run

MANIFEST = Path("data/manifest.csv")
SPLITS = Path("data/splits.csv")


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
    """Writes the manifest and the split table."""
    p = params.load(Params)
    from sentifuse import manifest, splits

    root = Path(p.data.root)
    labelled, predict = manifest.read_labels(root, p.labels)
    parts = splits.assign(
        labelled, seed=p.split.seed, val_size=p.split.val_size, test_size=p.split.test_size
    )
    table = splits.table(labelled, parts, predict)
    manifest.write(manifest.build(root, list(table["guid"])), MANIFEST)
    splits.write(table, SPLITS)
    shown = table.replace({"label": {"": "unlabelled"}})
    print(shown.groupby(["split", "label"]).size().unstack(fill_value=0).to_string())


if __name__ == "__main__":
    run(main)
