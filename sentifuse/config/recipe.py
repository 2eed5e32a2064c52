"""The sections of `params.yaml` that say how to split and train; what each key means stands there.

The class of a section has its name. Values are checked here as far as they can be without data and without
torch, so that a wrong one stops in the first second.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, Field

from sentifuse.config.params import STRICT, Count, Fraction, PositiveInt, Rate, Seed

InputMode = Literal["multimodal", "text_only", "image_only"]
# The keys of `fusion.FUSIONS`, which needs torch to be read.
Fusion = Literal["concat", "gated", "film", "film_concat", "cross_attn"]
Name = Annotated[str, Field(min_length=1)]
# Gradients in float16 would need a scaled loss, and processors gain nothing by it.
TrainingPrecision = Literal["auto", "fp32", "bf16"]
# Those that attend from one modality to the other, so that they need both.
ATTENDING: tuple[Fusion, ...] = ("cross_attn",)


def check_mode(fusion: Fusion, input_mode: InputMode) -> None:
    """Raises a ValueError if the fusion needs both modalities and the input mode leaves one only."""
    if fusion in ATTENDING and input_mode != "multimodal":
        raise ValueError(
            f"input_mode: {input_mode!r}: fusion {fusion!r} attends from one modality to the other and "
            "needs input_mode 'multimodal'"
        )


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a table; None for one that is not to be read."""

    __pydantic_config__ = STRICT
    id: Name | None
    image: Name
    text: Name
    text_file: Name | None
    label: Name | None
    split: Name | None
    text_label: Name | None
    image_label: Name | None


# The usual names: a table may lack these columns, but for those of images and texts.
COLUMNS = Columns(
    id="id",
    image="image",
    text="text",
    text_file="text_file",
    label="label",
    split="split",
    text_label="text_label",
    image_label="image_label",
)


@dataclass(frozen=True)
class Data:
    __pydantic_config__ = STRICT
    root: Name
    on_bad_sample: Literal["error", "skip"]
    columns: Columns


def _split_file(name: str) -> str:
    if not re.fullmatch(r"splits/[^/\\]+\.(csv|json)", name):
        raise ValueError(
            "expected a .csv or .json file in the folder splits/, which DVC watches, such as "
            "splits/mine.json"
        )
    return name


def _enough_folds(count: int) -> int:
    if 0 < count < 3:
        raise ValueError(
            "expected 0 for one split, or 3 and more: test and validation are a fold each"
        )
    return count


@dataclass(frozen=True)
class Split:
    __pydantic_config__ = STRICT
    seed: Seed
    val_size: Fraction
    test_size: Fraction
    group_duplicates: bool
    file: Annotated[str, AfterValidator(_split_file)] | None
    folds: Annotated[Count, AfterValidator(_enough_folds)]

    def __post_init__(self) -> None:
        if self.file is not None and self.folds:
            raise ValueError(
                f"file {self.file!r} and folds {self.folds}: choose one: the file has its own folds"
            )
        # 0.1 + 0.2 is 0.30000000000000004.
        if round(self.val_size + self.test_size, 9) >= 1:
            raise ValueError(
                f"val_size {self.val_size} + test_size {self.test_size}: must be below 1, to leave rows "
                "to train on"
            )


@dataclass(frozen=True)
class IntervalOptions:
    __pydantic_config__ = STRICT
    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100)]


@dataclass(frozen=True)
class ImageViews:
    __pydantic_config__ = STRICT
    train: Literal["plain", "draw", "mean"]
    predict: Literal["plain", "mean"]


@dataclass(frozen=True)
class Head:
    __pydantic_config__ = STRICT
    hidden_dims: tuple[PositiveInt, ...]
    dropout: Fraction


@dataclass(frozen=True)
class Loss:
    __pydantic_config__ = STRICT
    class_weights: Literal["none", "sqrt", "balanced"] | dict[str, Annotated[float, Field(gt=0)]]
    label_smoothing: Fraction
    logit_adjustment: Rate
    noise: Literal["none", "drop", "weight"]

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises a ValueError if the weights are by class name and name other classes than `labels`."""
        weights = self.class_weights
        if isinstance(weights, dict) and set(weights) != set(labels):
            raise ValueError(
                f"loss.class_weights: {weights}: expected a weight for each of {', '.join(labels)}"
            )


@dataclass(frozen=True)
class Schedule:
    """The keys that both training stages have."""

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
    precision: TrainingPrecision


@dataclass(frozen=True)
class Stage1(Schedule):
    # The encoders are frozen, and a batch is too small to be shared by threads.
    lr_clip: ClassVar[float] = 0.0
    layer_decay: ClassVar[float] = 1.0
    threads: ClassVar[int] = 1


@dataclass(frozen=True)
class Stage2(Schedule):
    restart_head: bool
    members: PositiveInt
    lr_clip: Rate
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    encoder_dropout: Fraction
    threads: PositiveInt


AnyStage = TypeVar("AnyStage", bound=Stage1 | Stage2, covariant=True)


@dataclass(frozen=True)
class StageRecipe(Generic[AnyStage]):
    """How one training stage trains the model that it is given."""

    loss: Loss
    image_views: ImageViews
    schedule: AnyStage


@dataclass(frozen=True)
class Recipe:
    """How to make and train a model; the fields are keys of `params.yaml`."""

    fusion: Fusion
    input_mode: InputMode
    head: Head
    loss: Loss
    image_views: ImageViews
    stage1: Stage1
    stage2: Stage2 | None  # None where stage 1 is all, so that the encoders stay frozen
