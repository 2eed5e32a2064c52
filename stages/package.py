"""Packs the finetuned model, with all that prediction takes and a model card, into one folder.

    python -m stages.package

Reads `models/stage2/`, `data/features/`, `data/splits.csv` and `metrics/evaluate.json`; writes
`models/bundle/`, which `python -m sentifuse predict` and `dvc artifacts get` use.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse.config import params, recipe
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

MODEL = Path("models/stage2")
FEATURES = Path("data/features")
SPLITS = Path("data/splits.csv")
METRICS = Path("metrics/evaluate.json")
OUT = Path("models/bundle")


@dataclass(frozen=True)
class Package:
    """The section `package`."""

    __pydantic_config__ = params.STRICT
    name: Annotated[str, Field(min_length=1)]
    license: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`; training's sections are put on record as they stand."""

    numerics: Numerics
    seed: params.Seed
    data: recipe.Data
    split: recipe.Split
    fusion: recipe.Fusion
    input_mode: recipe.InputMode
    image_views: recipe.ImageViews
    head: recipe.Head
    loss: recipe.Loss
    stage1: recipe.Stage1
    stage2: recipe.Stage2
    interval: recipe.IntervalOptions
    package: Package


def main(p: Params) -> None:
    """Writes the bundle."""
    from sentifuse.data import splits
    from sentifuse.deploy import bundle
    from sentifuse.features import encoding_record
    from sentifuse.runtime import files

    recorded = params.read(Params)
    del recorded["package"], recorded["data"]
    counts = splits.counts(splits.read(SPLITS))
    data = {
        # The folder's name: where it lay is nobody's business.
        "name": Path(p.data.root).name,
        "samples": {
            part: rows for part, rows in counts.items() if part not in splits.UNLABELLED_PARTS
        },
    }
    bundle.save(
        OUT,
        MODEL,
        encoding=encoding_record.read(FEATURES),
        data=data,
        params=recorded,
        metrics=files.read_json(METRICS),
        card=bundle.CardFacts(p.package.name, p.package.license),
    )
    print(f"{OUT}: {p.package.name}")


if __name__ == "__main__":
    run_stage(main, Params)
