"""The section `backbone` of `params.yaml`: the encoders by name, and how they encode.

It is checked here as far as it can be without torch, so that a wrong value stops in the first second.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from sentifuse.config import params

Modality = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
Precision = Literal["auto", "fp32", "bf16", "fp16"]
# Names that are neither hub ids nor folders -> what they read. They come with pip, and know float32 only: so
# their features are the same numbers everywhere.
BUILT_IN: dict[str, Modality] = {
    "minilm-l6": "text",
    "efficientnet-lite0": "image",
    "efficientnet-lite1": "image",
    "efficientnet-lite2": "image",
}


def _several(value: object) -> object:
    """One name or number stands for a list of it."""
    if value == []:  # `min_length` would also complain of a list whose only item is wrong
        raise ValueError("expected at least one")
    return tuple(value) if isinstance(value, list) else (value,)


Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_several)]
# How many of the last layers of each encoder are finetuned; a single number is for all of them.
Layers = Annotated[tuple[params.Count, ...], BeforeValidator(_several)]


@dataclass(frozen=True)
class Backbone:
    """The section `backbone`."""

    __pydantic_config__ = params.STRICT
    image: Names
    text: Names
    ocr: bool
    fingerprint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None
    precision: Precision
    tokens: bool
    hidden_dtype: Literal["float16", "float32"]
    image_batch: params.PositiveInt
    text_batch: params.PositiveInt
    engine: Literal["local", "ray"]

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: object) -> object:
        keys = getattr(values, "kwargs", values)
        if isinstance(keys, dict) and {"name", "revision"} & keys.keys():
            raise ValueError(
                "name and revision are gone: write backbone.image and backbone.text, each the name of an "
                "encoder, a folder, or a hub id with or without @revision (for CLIP: recipes/clip.yaml)"
            )
        return values

    def __post_init__(self) -> None:
        _check_names("image", self.image)
        _check_names("text", self.text)
        for name in (*self.image, *self.text):
            if name in BUILT_IN and self.precision not in ("auto", "fp32"):
                raise ValueError(
                    f"precision {self.precision!r}: the encoder {name!r} knows 'fp32' only, "
                    "which 'auto' gives"
                )


def _check_names(modality: Modality, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"{modality}: {name!r} stands twice")
        check_reads(modality, name)


def check_reads(modality: Modality, name: str) -> None:
    """Raises a ValueError if the encoder that goes by `name` reads the other modality."""
    if BUILT_IN.get(name, modality) != modality:
        known = [each for each, reads in BUILT_IN.items() if reads == modality]
        raise ValueError(
            f"{modality}: {name!r} reads {BUILT_IN[name]}s: expected {', '.join(known)}, a hub id or a "
            "folder"
        )


def check_layers(key: str, given: Sequence[int], names: Sequence[str]) -> None:
    """Raises a ValueError if `key` has neither one number of layers nor one for each encoder."""
    if len(given) not in (1, len(names)):
        raise ValueError(
            f"{key}: {list(given)}: expected one number, or one for each of {', '.join(names)}"
        )


def spread(given: Sequence[int], names: Sequence[str]) -> Sequence[int]:
    """The layers to finetune of each encoder: a single number is for all of them."""
    return given if len(given) == len(names) else list(given) * len(names)
