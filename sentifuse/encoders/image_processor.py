"""The preprocessor files of image models: they say how images are resized, cropped and normalised.

Many versions of transformers, and other programs, wrote them. A key that a file leaves out has the value that
transformers' class of the file gives it. Where a file asks for something that is not done here, it is
refused: nobody would notice slightly different embeddings.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from sentifuse.data.images import RESAMPLES, ImageSpec, Resample
from sentifuse.encoders.foreign import Keys, read_keys
from sentifuse.errors import UserError

PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"

_COMMON: dict[str, Any] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "default_to_square": True,  # whether a size that is one number means a square
    "resample": 3,
    "size": {"height": 224, "width": 224},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
_CROP = {"crop_size": {"height": 224, "width": 224}}
_CLIP: dict[str, Any] = _COMMON | {
    **_CROP,
    "do_center_crop": True,
    "default_to_square": False,
    "size": {"shortest_edge": 224},
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_CONVNEXT = "ConvNextImageProcessor"
# By the name of transformers' class, what holds where a file leaves a key out.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "BeitImageProcessor": _COMMON | _CROP,
    "BitImageProcessor": _CLIP,
    "ChineseCLIPImageProcessor": _CLIP,
    "CLIPImageProcessor": _CLIP,
    _CONVNEXT: _COMMON
    | {"default_to_square": False, "size": {"shortest_edge": 384}, "crop_pct": 224 / 256},
    "DeiTImageProcessor": _COMMON
    | {**_CROP, "do_center_crop": True, "size": {"height": 256, "width": 256}},
    "DINOv3ViTImageProcessor": _COMMON
    | {"resample": 2, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "SiglipImageProcessor": _COMMON | {"default_to_square": False},
    "ViTImageProcessor": _COMMON | {"resample": 2},
}
# These do something that their files need not tell.
_OTHERWISE = {
    "BridgeTowerImageProcessor": "it resizes to multiples of a divisor",
    "EfficientNetImageProcessor": "it normalises images twice",
    "ImageGPTImageProcessor": "it replaces colours by those of a palette",
    "LevitImageProcessor": "it resizes to 256/224 of the size in its file",
    "LlavaImageProcessor": "it pads images to a square",
    "MobileViTImageProcessor": "it takes the channels in the order blue, green, red",
    "Owlv2ImageProcessor": "it pads images to a square",
    "PerceiverImageProcessor": "it crops images before it resizes them",
    "PoolFormerImageProcessor": "it resizes by crop_pct in a way of its own",
    "Siglip2ImageProcessor": "it makes patches of images of any shape: take a model of fixed resolution",
    "VideoMAEImageProcessor": "it takes videos",
}
# What may stand in the file of an unknown class; any other key could ask for anything.
_UNDERSTOOD = frozenset(_COMMON | _CROP) | {
    "data_format",
    "device",
    "disable_grouping",
    "do_convert_rgb",  # images are read as RGB anyway
    "feature_extractor_type",
    "image_processor_type",
    "input_data_format",
    "processor_class",
    "return_tensors",
}
# From this size on ConvNeXt's processor does not crop.
_CONVNEXT_WHOLE = 384


@dataclass(frozen=True)
class _Settings(Keys):
    """A preprocessor file; `defaults` has the values of the keys that are missing or null."""

    defaults: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        return super().get(key, self.defaults.get(key, default))

    def flag(self, key: str) -> bool:
        """The value of a key that is true or false."""
        value = self.get(key)
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value


class _Geometry(NamedTuple):
    """Three fields of `ImageSpec`, and the key that the side of the crop comes from."""

    resize: int
    crop: int
    squash: bool
    crop_key: str


def image_spec(model: str, files: Mapping[str, Path | None], image_size: int | None) -> ImageSpec:
    """Reads how images are prepared.

    Args:
        model: stands in front of the messages.
        files: where `PROCESSOR` and `PREPROCESSOR` are; None for one that is not there.
        image_size: side of the images that the weights take, in pixels; None where they take any.

    Raises:
        UserError: a key is missing, or asks for what is not done here.
    """
    keys = _preprocessing(model, files)
    name = _class_name(keys)
    settings = _Settings(keys.source, keys.values, DEFAULTS.get(name or "", {}))
    if name not in DEFAULTS:
        _check_understood(settings)
    _check_steps(settings)
    geometry = _convnext(settings) if name == _CONVNEXT else _resize_and_crop(settings)
    if image_size is not None and geometry.crop != image_size:
        settings.refuse(
            geometry.crop_key,
            f"{image_size}, the side of the images that the weights take (image_size in config.json)",
        )
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if settings.flag("do_normalize"):
        mean, std = _channels(settings, "image_mean"), _channels(settings, "image_std", 0.0)
    return ImageSpec(
        resize=geometry.resize,
        crop=geometry.crop,
        mean=mean,
        std=std,
        squash=geometry.squash,
        resample=_resample(settings),
    )


def _preprocessing(model: str, files: Mapping[str, Path | None]) -> Keys:
    """The keys that say how images are prepared, where transformers would read them."""
    processor, preprocessor = files.get(PROCESSOR), files.get(PREPROCESSOR)
    if processor is not None:
        whole = read_keys(processor, model)
        nested = whole.get("image_processor")
        if isinstance(nested, dict):
            return Keys(f"{whole.source}: image_processor", nested)
        if nested is not None or preprocessor is None:
            whole.refuse("image_processor", "how images are prepared: a JSON object")
    if preprocessor is None:
        raise UserError(f"{model}: no {PREPROCESSOR}, or {PROCESSOR}: fetch it")
    return read_keys(preprocessor, model)


def _class_name(keys: Keys) -> str | None:
    """The name of the class as transformers has it today; None where the file names none.

    Raises:
        UserError: it is no name, or that of a class of `_OTHERWISE`.
    """
    for key in ("image_processor_type", "feature_extractor_type", "processor_class"):
        name = keys.get(key)
        if name is None:
            continue
        if not isinstance(name, str):
            keys.refuse(key, "the name of a class")
        name = name.removesuffix("Fast").removesuffix("Pil")
        name = name.replace("FeatureExtractor", "ImageProcessor")
        # `CLIPProcessor` prepares images and texts; its part for images is `CLIPImageProcessor`.
        if not name.endswith("ImageProcessor"):
            name = name.removesuffix("Processor") + "ImageProcessor"
        if name in _OTHERWISE:
            keys.refuse(key, f"a class that only resizes and crops images ({_OTHERWISE[name]})")
        return name
    return None


def _check_understood(settings: _Settings) -> None:
    """Refuses the file of an unknown class that asks for something by a key of its own."""
    for key, value in settings.values.items():
        # What is switched off asks for nothing.
        if key not in _UNDERSTOOD and value is not None and value is not False:
            settings.refuse(
                key, "no such key: images are only resized, cropped and normalised here"
            )


def _check_steps(settings: _Settings) -> None:
    """Refuses a file that leaves out a step that is always done here, or that adds one."""
    if not settings.flag("do_resize"):
        settings.refuse("do_resize", "true: images of one batch must have one size")
    if not settings.flag("do_rescale"):
        settings.refuse("do_rescale", "true: values are brought from 0..255 to 0..1")
    factor = settings.get("rescale_factor")
    if not _is_number(factor) or not math.isclose(factor, 1 / 255, rel_tol=1e-3):
        settings.refuse("rescale_factor", "1/255: values are brought from 0..255 to 0..1")
    # By the latter, KOSMOS-2 takes `size` for that of a square.
    for key in ("do_pad", "use_square_size"):
        if settings.get(key, False) is not False:
            settings.refuse(key, "false: it is not done here")


def _resample(settings: _Settings) -> Resample:
    number = settings.get("resample")
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(RESAMPLES):
        numbers = ", ".join(f"{number} ({name})" for number, name in enumerate(RESAMPLES))
        settings.refuse("resample", f"the number of a filter: {numbers}")
    return RESAMPLES[number]


def _resize_and_crop(settings: _Settings) -> _Geometry:
    """The geometry of all processors but ConvNeXt's."""
    cropped = settings.flag("do_center_crop")
    resize, squash = _size(settings)
    if not cropped:
        if not squash:
            settings.refuse(
                "size",
                "{'height': n, 'width': n}, or do_center_crop with a crop_size: images must become square",
            )
        return _Geometry(resize, resize, True, "size")
    crop = settings.get("crop_size")
    # Old files give a number where newer ones give an object.
    side = crop if _is_side(crop) else _square(crop)
    if side is None:
        settings.refuse("crop_size", "{'height': n, 'width': n}, a square")
    if resize < side:
        settings.refuse("size", f"{side} (crop_size) or more")
    return _Geometry(resize, side, squash, "crop_size")


def _convnext(settings: _Settings) -> _Geometry:
    """ConvNeXt's: small images keep their proportions and lose their edges, large ones are squashed."""
    if settings.flag("do_center_crop"):
        settings.refuse("do_center_crop", "false: images of this class are cropped by crop_pct")
    side, squash = _size(settings)
    if squash:
        settings.refuse("size", "{'shortest_edge': n}, as images of this class are resized")
    if side >= _CONVNEXT_WHOLE:
        return _Geometry(side, side, True, "size")
    share = settings.get("crop_pct")
    if not _is_number(share) or not 0.1 <= share <= 1:
        settings.refuse("crop_pct", "the share of the side that is kept, 0.1..1")
    return _Geometry(int(side / share), side, False, "size")


def _size(settings: _Settings) -> tuple[int, bool]:
    """The side after resizing, in pixels, and whether it is that of both sides, not of the shorter one."""
    size = settings.get("size")
    square = _square(size)
    if square is not None:
        return square, True
    if (
        isinstance(size, dict)
        and size.keys() == {"shortest_edge"}
        and _is_side(size["shortest_edge"])
    ):
        return size["shortest_edge"], False
    # Old files give a number, which each class takes in its own way.
    by_class = settings.get("default_to_square")
    if not _is_side(size) or not isinstance(by_class, bool):
        settings.refuse("size", "{'shortest_edge': n}, or {'height': n, 'width': n}, a square")
    return size, by_class


def _square(size: Any) -> int | None:
    """The side of {'height': n, 'width': n}; None for anything else."""
    if not isinstance(size, dict) or size.keys() != {"height", "width"}:
        return None
    height, width = size["height"], size["width"]
    return height if _is_side(height) and _is_side(width) and height == width else None


def _channels(
    settings: _Settings, key: str, above: float = -math.inf
) -> tuple[float, float, float]:
    values = settings.get(key)
    whole = isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))
    if not whole or min(values) <= above:
        settings.refuse(
            key, "a number for each of red, green and blue" + (", above 0" * (above == 0))
        )
    red, green, blue = values
    return red, green, blue


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_side(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
