"""Encodes every sample once: embeddings, tokens and the hidden states at the split point.

    python -m stages.preprocess

Reads `data/manifest.csv` and the files that it names; writes `data/features/` and
`metrics/features.json` (the precision, and how close it comes to float32). What was encoded before, by
whichever run, comes from the store in `.sentifuse/store`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sentifuse.config import params
from sentifuse.runtime import precision
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision
from sentifuse.runtime.process import run_stage

MANIFEST = Path("data/manifest.csv")
OUT = Path("data/features")
METRICS = Path("metrics/features.json")


@dataclass(frozen=True)
class BackboneParams:
    """The section `backbone`."""

    __pydantic_config__ = params.STRICT
    name: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(min_length=1)] | None
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    precision: Precision
    tokens: bool
    hidden_dtype: Literal["float16", "float32"]
    image_batch: params.PositiveInt
    text_batch: params.PositiveInt
    engine: Literal["local", "ray"]

    def __post_init__(self) -> None:
        precision.check(self.precision, self.name)


@dataclass(frozen=True)
class Ray:
    """The section `ray`."""

    __pydantic_config__ = params.STRICT
    address: Annotated[str, Field(pattern=r"^(auto|[^\s/]+:[0-9]+)$")] | None


@dataclass(frozen=True)
class Augment:
    """The section `augment`."""

    __pydantic_config__ = params.STRICT
    views: params.Count
    scale_min: Annotated[float, Field(gt=0, le=1)]
    flip: bool
    jitter: params.Fraction


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    unfreeze_text_layers: params.Count
    unfreeze_vision_layers: params.Count
    backbone: BackboneParams
    ray: Ray
    augment: Augment


def main(p: Params) -> None:
    """Encodes what the store lacks and assembles `data/features/`."""
    from sentifuse.data import manifest
    from sentifuse.data.images import ViewSpec
    from sentifuse.features import encoding_record, preprocessing
    from sentifuse.features.encoding import Setting
    from sentifuse.features.engines import registry
    from sentifuse.features.store.space import default_root
    from sentifuse.runtime import files

    backbone = p.backbone
    with registry.opened(backbone.engine, p.ray.address) as engine:
        device, chosen = engine.place(backbone.precision, backbone.name, p.numerics)
        setting = Setting(
            image_split=p.unfreeze_vision_layers,
            text_split=p.unfreeze_text_layers,
            tokens=backbone.tokens,
            hidden_dtype=backbone.hidden_dtype,
            image_batch=backbone.image_batch,
            text_batch=backbone.text_batch,
            views=ViewSpec(p.augment.scale_min, p.augment.flip, p.augment.jitter),
            precision=chosen,
            device=device,
            # A GPU has no such instructions.
            numerics=p.numerics if device == "cpu" else "native",
        )
        encoders = preprocessing.load(backbone.name, backbone.revision, backbone.fingerprint)
        found = preprocessing.preprocess(
            files.CsvRows(MANIFEST, manifest.Sample._make),
            encoders,
            encoding_record.of(
                encoders, backbone.name, backbone.revision, setting, 1 + p.augment.views
            ),
            engine.encode,
            store=default_root(),
            out=OUT,
        )
    files.write_json(METRICS, found)


if __name__ == "__main__":
    run_stage(main, Params)
