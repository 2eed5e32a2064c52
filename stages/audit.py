"""Says which labels are probably wrong, and how many.

    python -m stages.audit

Reads `data/features/`, `data/splits.csv` and `data/duplicates.csv`; writes `data/label_audit.csv`, one row
per labelled sample, and `metrics/audit.json`. It reads the labels of every part, so training uses none of it:
`loss.noise` has an estimate of its own within the training part. docs/label-audit.md says how to read it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse.config import params, recipe
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
DUPLICATES = Path("data/duplicates.csv")
OUT = Path("data/label_audit.csv")
METRICS = Path("metrics/audit.json")


@dataclass(frozen=True)
class AuditOptions:
    """The section `audit`."""

    __pydantic_config__ = params.STRICT
    folds: Annotated[int, Field(ge=2)]


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    seed: params.Seed
    labels: params.ClassNames
    image_views: recipe.ImageViews
    interval: recipe.IntervalOptions
    audit: AuditOptions


def main(p: Params) -> None:
    """Writes the audit; where there are too few samples for the folds, only a note that says so."""
    from sentifuse.data import splits
    from sentifuse.evaluation import audit
    from sentifuse.features import schema
    from sentifuse.features.parts import load_parts
    from sentifuse.runtime import files

    table = splits.read(SPLITS)
    labelled = table[~table["split"].isin(splits.UNLABELLED_PARTS)].assign(split="train")
    data = load_parts(schema.read(FEATURES), labelled, p.labels).train
    # Not the groups of the split, which has none with `split.group_duplicates: false`.
    twins = files.read_csv(DUPLICATES, text=["guid", "group"])
    groups = dict(zip(twins["guid"], twins["group"], strict=True))
    scale = audit.Scale(p.audit.folds, p.image_views.predict, p.interval, p.seed)
    rows, found = audit.audit(data, p.labels, groups, scale)
    files.write_csv(OUT, rows)
    files.write_json(METRICS, found)
    print(f"{OUT}: {audit.told(found)}")


if __name__ == "__main__":
    run_stage(main, Params)
