"""Draws the demo data: synthetic tweets with pictures, in the raw layout.

    python -m stages.demo_data

Reads nothing; writes `data/demo/`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse.config import params
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

OUT = Path("data/demo")


@dataclass(frozen=True)
class Demo:
    """The section `demo`."""

    __pydantic_config__ = params.STRICT
    labelled: Annotated[int, Field(ge=30)]
    unlabelled: params.Count
    seed: params.Seed


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    demo: Demo


def main(p: Params) -> None:
    """Draws `demo.labelled` + `demo.unlabelled` pairs."""
    demo = p.demo
    from demo.generate import generate

    shutil.rmtree(OUT, ignore_errors=True)
    generate(OUT, labelled=demo.labelled, unlabelled=demo.unlabelled, seed=demo.seed)
    print(f"{OUT}: {demo.labelled} labelled and {demo.unlabelled} unlabelled pairs")


if __name__ == "__main__":
    run_stage(main, Params)
