"""Packs the finetuned model, with all that prediction takes and a model card, into one folder.

    python -m stages.package

Reads `models/stage2/`, `data/features/encoding.json`, `data/splits.csv` and `metrics/evaluate.json`; writes
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
ENCODING = Path("data/features/encoding.json")
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
    """What this stage reads of `params.yaml`; the sections of training go into the config unchanged."""

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
    from sentifuse.runtime import files

    recorded = params.read(Params)
    del recorded["package"], recorded["data"]
    counts = splits.counts(splits.read(SPLITS))
    data = {
        # The name of the folder alone: its path tells about somebody's machine.
        "name": Path(p.data.root).name,
        "samples": {
            part: rows for part, rows in counts.items() if part not in splits.UNLABELLED_PARTS
        },
    }
    provenance = bundle.Provenance(
        encoding=files.read_json(ENCODING),
        data=data,
        params=recorded,
        metrics=files.read_json(METRICS),
    )
    bundle.save(OUT, MODEL, provenance, p.package.name, p.package.license)
    print(f"{OUT}: {p.package.name}")


if __name__ == "__main__":
    run_stage(main, Params)
