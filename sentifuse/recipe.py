"""The sections of `params.yaml` that say how to split and train; what each key means stands there."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from sentifuse.params import STRICT, Count, Fraction, PositiveInt, Rate, Seed

InputMode = Literal["multimodal", "text_only", "image_only"]


@dataclass(frozen=True)
class Split:
    """The section `split`."""

    __pydantic_config__ = STRICT
    seed: Seed
    val_size: Fraction
    test_size: Fraction
    group_duplicates: bool


@dataclass(frozen=True)
class Interval:
    """The section `interval`."""

    __pydantic_config__ = STRICT
    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]


@dataclass(frozen=True)
class ImageViews:
    """The section `image_views`."""

    __pydantic_config__ = STRICT
    train: Literal["plain", "draw", "mean"]
    predict: Literal["plain", "mean"]


@dataclass(frozen=True)
class Head:
    """The section `head`."""

    __pydantic_config__ = STRICT
    hidden_dims: tuple[PositiveInt, ...]
    dropout: Fraction


@dataclass(frozen=True)
class Loss:
    """The section `loss`."""

    __pydantic_config__ = STRICT
    class_weights: Literal["none", "sqrt", "balanced"] | dict[str, Annotated[float, Field(gt=0)]]
    label_smoothing: Fraction
    logit_adjustment: Rate


@dataclass(frozen=True)
class Schedule:
    """What both training stages have."""

    __pydantic_config__ = STRICT
    epochs: Count
    batch_size: PositiveInt
    lr_head: Rate
    lr_attn: Rate
    weight_decay: Rate
    max_grad_norm: Annotated[float, Field(gt=0)]
    schedule: Literal["plateau", "cosine"]
    warmup: Fraction
    early_stop_patience: Count


@dataclass(frozen=True)
class Stage1(Schedule):
    """The section `stage1`."""

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Stage2(Schedule):
    """The section `stage2`."""

    __pydantic_config__ = STRICT
    restart_head: bool
    members: PositiveInt
    lr_clip: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    encoder_dropout: Fraction
    precision: Literal["fp32", "bf16"]
    threads: PositiveInt
