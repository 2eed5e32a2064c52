"""Encodes every sample once: embeddings, tokens and the hidden states at the split point.

    python -m stages.preprocess

Reads `data/manifest.csv` and the files that it names; writes `data/features/` and
`metrics/features.json` (the precision, and how close it comes to float32). What was encoded before, by
whichever run, comes from the store in `.sentifuse/store`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sentifuse.config import backbone, params
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.process import run_stage

MANIFEST = Path("data/manifest.csv")
OUT = Path("data/features")
METRICS = Path("metrics/features.json")


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
class ZeroShot:
    """The section `zero_shot`."""

    __pydantic_config__ = params.STRICT
    prompts: dict[
        str, Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
    ]


@dataclass(frozen=True)
class Params:
    """What this stage reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    labels: params.ClassNames
    unfreeze_text_layers: backbone.Layers
    unfreeze_vision_layers: backbone.Layers
    backbone: backbone.Backbone
    ray: Ray
    augment: Augment
    zero_shot: ZeroShot

    def __post_init__(self) -> None:
        texts, images = self.unfreeze_text_layers, self.unfreeze_vision_layers
        backbone.check_layers("unfreeze_text_layers", texts, self.backbone.text)
        backbone.check_layers("unfreeze_vision_layers", images, self.backbone.image)
        prompts = self.zero_shot.prompts
        both = set(self.backbone.image) & set(self.backbone.text)
        if both and prompts and set(prompts) != set(self.labels):
            raise ValueError(
                f"zero_shot.prompts: of {', '.join(prompts)}: expected texts for each of "
                f"{', '.join(self.labels)}, or {{}} for no such baseline"
            )


def main(p: Params) -> None:
    """Encodes what the store lacks and assembles `data/features/`."""
    from sentifuse.data import manifest
    from sentifuse.data.images import ViewSpec
    from sentifuse.features import encoding_record, preprocessing, prompts, selection
    from sentifuse.features.encoding import Setting
    from sentifuse.features.engines import registry
    from sentifuse.features.store.space import default_root
    from sentifuse.runtime import files

    own = p.backbone
    libraries = encoding_record.versions(own.ocr)
    with registry.opened(own.engine, p.ray.address) as engine:
        device, chosen = engine.place(own.precision, p.numerics, p.device)
        setting = Setting(
            hidden_dtype=own.hidden_dtype,
            image_batch=own.image_batch,
            text_batch=own.text_batch,
            views=ViewSpec(p.augment.scale_min, p.augment.flip, p.augment.jitter),
            device=device,
            # A GPU has no such instructions.
            numerics=p.numerics if device == "cpu" else "native",
        )
        wanted = selection.wanted(own, p.unfreeze_vision_layers, p.unfreeze_text_layers)
        encoders = selection.load(wanted, own.fingerprint)
        record = encoding_record.EncodingRecord(
            encoders=selection.records(encoders, wanted, own.tokens, chosen),
            views=1 + p.augment.views,
            setting=setting,
            libraries=libraries,
        )
        samples = files.CsvRows(MANIFEST, manifest.Sample._make)
        found = preprocessing.preprocess(
            samples, encoders, record, engine.encode, store=default_root(), out=OUT
        )
    if p.zero_shot.prompts.keys() == set(p.labels):
        described = {label: p.zero_shot.prompts[label] for label in p.labels}
        prompts.write(OUT, encoders, record.encoders, described)
    files.write_json(METRICS, found)


if __name__ == "__main__":
    run_stage(main, Params)
