"""Tests of preprocessor files: pixels are those of transformers, or the file is refused in one line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.image_processing_backends import PilBackend
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
    ChineseCLIPImageProcessorPil,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)
from transformers.models.levit.image_processing_pil_levit import LevitImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from sentifuse.data import images
from sentifuse.data.images import ImageSpec
from sentifuse.encoders.image_processor import DEFAULTS, PREPROCESSOR, PROCESSOR, image_spec
from sentifuse.errors import UserError
from sentifuse.features.encoding import normalise

PIL_CLASSES: tuple[type[PilBackend], ...] = (
    BeitImageProcessorPil,
    BitImageProcessorPil,
    ChineseCLIPImageProcessorPil,
    CLIPImageProcessorPil,
    ConvNextImageProcessorPil,
    DeiTImageProcessorPil,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)
IMAGENET: dict[str, Any] = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
# Wide, tall, small, square, odd, of the very size, and narrow.
SIZES = (
    (640, 427), (375, 500), (40, 31), (300, 300), (501, 333), (333, 1001), (224, 224), (1000, 90), (7, 5),
)  # fmt: skip


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def edge(side: int) -> dict[str, int]:
    return {"shortest_edge": side}


def picture(width: int, height: int) -> Image.Image:
    """Coarse noise, as smooth as a photograph; another one for each size."""
    rng = np.random.default_rng(width * 10_000 + height)
    small = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(processor: PilBackend, folder: Path) -> dict[str, Path | None]:
    """The files that transformers writes."""
    processor.save_pretrained(folder)
    return {PREPROCESSOR: folder / PREPROCESSOR, PROCESSOR: None}


def written(values: Mapping[str, Any], folder: Path) -> dict[str, Path | None]:
    path = folder / PREPROCESSOR
    path.write_text(json.dumps(values), encoding="utf-8")
    return {PREPROCESSOR: path}


def prepared(image: Image.Image, spec: ImageSpec) -> Tensor:
    """What our encoders would see, (1, 3, S, S)."""
    return normalise(torch.from_numpy(images.centre(image, spec)[None].copy()), spec)


def grey_levels(difference: Tensor, spec: ImageSpec) -> Tensor:
    """Differences of normalised values as those of pixels in 0..255."""
    return (difference * torch.tensor(spec.std).view(3, 1, 1) * 255).abs()


def check_pixels(processor: Any, spec: ImageSpec) -> None:
    """Checks that our pixels are those of `processor`.

    Where an image keeps its proportions we resize only what ends in the crop. For some sizes Pillow then
    resizes the other direction first, which rounds otherwise (seen here: a seventh of the values, by 1 or 2).
    """
    for size in SIZES:
        image = picture(*size)
        expected = processor(image, return_tensors="pt")["pixel_values"]
        ours = prepared(image, spec)
        assert ours.shape == expected.shape, size
        levels = grey_levels(ours - expected, spec)
        assert levels.max() < (0.01 if spec.squash else 2.01), size
        assert levels.mean() < 0.17, size


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        (CLIPImageProcessorPil(), (224, 224, False, "bicubic")),
        (CLIPImageProcessorPil(size=edge(336), crop_size=square(336)), (336, 336, False, "bicubic")),
        (ChineseCLIPImageProcessorPil(), (224, 224, False, "bicubic")),
        (CLIPImageProcessorPil(size=square(225), do_center_crop=False), (225, 225, True, "bicubic")),
        # SigLIP, and SigLIP 2 of fixed resolution.
        (SiglipImageProcessorPil(), (224, 224, True, "bicubic")),
        (SiglipImageProcessorPil(size=square(256), resample=2), (256, 256, True, "bilinear")),
        (ViTImageProcessorPil(), (224, 224, True, "bilinear")),
        (ViTImageProcessorPil(size=square(64), resample=1), (64, 64, True, "lanczos")),
        (ViTImageProcessorPil(size=square(64), resample=5), (64, 64, True, "hamming")),
        (ViTImageProcessorPil(size=square(64), resample=4), (64, 64, True, "box")),
        (ViTImageProcessorPil(size=square(64), resample=0), (64, 64, True, "nearest")),
        (ViTImageProcessorPil(do_normalize=False), (224, 224, True, "bilinear")),
        (BeitImageProcessorPil(), (224, 224, True, "bicubic")),
        (BeitImageProcessorPil(size=square(256), do_center_crop=True), (256, 224, True, "bicubic")),
        (DeiTImageProcessorPil(), (256, 224, True, "bicubic")),
        (DeiTImageProcessorPil(**IMAGENET, size=square(255)), (255, 224, True, "bicubic")),
        # DINOv2.
        (BitImageProcessorPil(**IMAGENET, size=edge(256)), (256, 224, False, "bicubic")),
        (BitImageProcessorPil(size=edge(255), resample=1), (255, 224, False, "lanczos")),
        (BitImageProcessorPil(size=edge(248), crop_size=square(223)), (248, 223, False, "bicubic")),
        (ConvNextImageProcessorPil(), (384, 384, True, "bicubic")),
        (ConvNextImageProcessorPil(**IMAGENET, size=edge(224)), (256, 224, False, "bicubic")),
        (ConvNextImageProcessorPil(size=edge(224), crop_pct=0.95), (235, 224, False, "bicubic")),
        (ConvNextImageProcessorPil(size=edge(383), resample=2), (437, 383, False, "bilinear")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, PilBackend) else "-".join(map(str, value)),
)  # fmt: skip
def test_pixels_are_those_of_transformers(
    processor: PilBackend, expected: tuple[int, int, bool, str], tmp_path: Path
) -> None:
    spec = image_spec("m", saved(processor, tmp_path), expected[1])
    assert (spec.resize, spec.crop, spec.squash, spec.resample) == expected
    check_pixels(processor, spec)


def test_pixels_are_those_of_dinov3(tmp_path: Path) -> None:
    """Its processor, which needs torchvision, resizes floats with `interpolate`."""
    values = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": square(256)}
    spec = image_spec("m", written(values, tmp_path), None)
    for size in SIZES:
        image = picture(*size)
        floats = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        resized = torch.nn.functional.interpolate(
            floats, (256, 256), mode="bilinear", align_corners=False, antialias=True
        )
        mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in IMAGENET)
        levels = grey_levels(prepared(image, spec) - (resized - mean) / std, spec)
        # Ours are rounded to whole levels, twice: after each direction.
        assert levels.max() < 1.1, size
        assert levels.mean() < 0.4, size


# As files of 2021 and 2022 have it.
OLD: dict[str, Any] = {"do_normalize": True, "do_resize": True}
HALF: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@pytest.mark.parametrize(
    ("values", "processor"),
    [
        (
            OLD | {"feature_extractor_type": "CLIPFeatureExtractor", "size": 96, "crop_size": 96,
                   "do_center_crop": True, "resample": 3},
            CLIPImageProcessorPil(size=edge(96), crop_size=square(96)),
        ),
        (
            OLD | HALF | {"feature_extractor_type": "ViTFeatureExtractor", "size": 96, "resample": 2},
            ViTImageProcessorPil(size=square(96)),
        ),
        (
            OLD | IMAGENET | {"feature_extractor_type": "DeiTFeatureExtractor", "size": 112,
                              "crop_size": 96, "do_center_crop": True, "resample": 3},
            DeiTImageProcessorPil(**IMAGENET, size=square(112), crop_size=square(96)),
        ),
        (
            OLD | IMAGENET | {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 96,
                              "crop_pct": 0.875, "resample": 3},
            ConvNextImageProcessorPil(**IMAGENET, size=edge(96)),
        ),
        (
            {"image_processor_type": "ViTImageProcessorFast", "size": square(96), "resample": None},
            ViTImageProcessorPil(size=square(96)),
        ),
        (
            {"processor_class": "SiglipProcessor", "size": square(96)},
            SiglipImageProcessorPil(size=square(96)),
        ),
        (
            {"image_processor_type": "ViTImageProcessor", "size": 96, "default_to_square": False,
             "do_center_crop": True, "crop_size": 90},
            ViTImageProcessorPil(size=edge(96), do_center_crop=True, crop_size=90),
        ),
        *(({"image_processor_type": kind.__name__}, kind()) for kind in PIL_CLASSES),
    ],
    ids=["CLIP of 2021", "ViT of 2021", "DeiT of 2021", "ConvNeXt of 2022", "fast", "processor", "stated",
         *(kind.__name__ for kind in PIL_CLASSES)],
)  # fmt: skip
def test_a_file_that_leaves_keys_out_means_what_transformers_takes_it_for(
    values: dict[str, Any], processor: PilBackend, tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    spec = image_spec("m", written(values, tmp_path), None)
    assert spec == image_spec("m", saved(processor, tmp_path / "whole"), None)
    image = picture(150, 99)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    assert grey_levels(prepared(image, spec) - expected, spec).max() < 2.01


def test_the_defaults_of_all_classes_are_checked_against_transformers() -> None:
    names = {kind.__name__.removesuffix("Pil") for kind in PIL_CLASSES}
    assert names | {"DINOv3ViTImageProcessor"} == set(DEFAULTS)


WHOLE: dict[str, Any] = {
    "image_processor_type": "MyImageProcessor",
    "do_resize": True,
    "size": edge(40),
    "resample": 2,
    "do_center_crop": True,
    "crop_size": square(32),
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    **IMAGENET,
}
WHOLE_SPEC = ImageSpec(40, 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False, "bilinear")


def test_an_unknown_class_that_states_all_is_taken(tmp_path: Path) -> None:
    values = WHOLE | {"do_convert_rgb": True, "do_pad": None, "do_flip_channel_order": False}
    assert image_spec("m", written(values, tmp_path), 32) == WHOLE_SPEC
    # A square that is not cropped needs no crop_size.
    values = WHOLE | {"do_center_crop": False, "size": square(32), "crop_size": None}
    spec = image_spec("m", written(values, tmp_path), 32)
    assert (spec.resize, spec.crop, spec.squash) == (32, 32, True)


def test_the_object_in_processor_config_goes_first(tmp_path: Path) -> None:
    both = written(WHOLE | {"size": edge(99)}, tmp_path)
    path = tmp_path / PROCESSOR
    both[PROCESSOR] = path
    path.write_text(json.dumps({"image_processor": WHOLE}), encoding="utf-8")
    assert image_spec("m", both, 32) == WHOLE_SPEC
    assert image_spec("m", {PROCESSOR: path}, 32) == WHOLE_SPEC
    # As processors of before 2025 were written.
    path.write_text(json.dumps({"processor_class": "MyProcessor"}), encoding="utf-8")
    assert image_spec("m", both, 32).resize == 99


def refusal(values: Mapping[str, Any], folder: Path, image_size: int | None = 32) -> str:
    """What follows the file in the one line that refuses `values`."""
    with pytest.raises(UserError) as caught:
        image_spec("m", written(values, folder), image_size)
    start, message = f"m: {PREPROCESSOR}: ", str(caught.value)
    assert "\n" not in message
    assert message.startswith(start)
    return message.removeprefix(start)


@pytest.mark.parametrize("key", sorted(set(WHOLE) - {"image_processor_type"}))
@pytest.mark.parametrize("missing", [False, True])
def test_an_unknown_class_must_state_every_key(key: str, missing: bool, tmp_path: Path) -> None:
    values = {name: None if name == key else value for name, value in WHOLE.items()}
    if missing:
        del values[key]
    found = f"no key {key!r}: expected " if missing else f"{key}: None: expected "
    assert refusal(values, tmp_path).startswith(found)


SIZE_TOLD = "expected {'shortest_edge': n}, or {'height': n, 'width': n}, a square"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"do_resize": False}, "do_resize: False: expected true"),
        ({"do_resize": 1}, "do_resize: 1: expected true or false"),
        ({"do_rescale": False}, "do_rescale: False: expected true: values are brought from 0..255"),
        ({"do_center_crop": "yes"}, "do_center_crop: 'yes': expected true or false"),
        ({"do_normalize": 0}, "do_normalize: 0: expected true or false"),
        ({"rescale_factor": 1}, "rescale_factor: 1: expected 1/255"),
        ({"rescale_factor": 1 / 127.5}, "expected 1/255"),
        ({"rescale_factor": "1/255"}, "rescale_factor: '1/255': expected 1/255"),
        ({"resample": 6}, "resample: 6: expected the number of a filter: 0 (nearest), 1 (lanczos), "),
        ({"resample": -1}, "resample: -1: expected the number of a filter"),
        ({"resample": "bicubic"}, "resample: 'bicubic': expected the number of a filter"),
        ({"resample": True}, "resample: True: expected the number of a filter"),
        ({"size": 40}, f"size: 40: {SIZE_TOLD}"),
        ({"size": "40"}, f"size: '40': {SIZE_TOLD}"),
        ({"size": [40, 40]}, f"size: [40, 40]: {SIZE_TOLD}"),
        ({"size": {"height": 40, "width": 50}}, f"size: {{'height': 40, 'width': 50}}: {SIZE_TOLD}"),
        ({"size": {"height": 40}}, f"size: {{'height': 40}}: {SIZE_TOLD}"),
        ({"size": edge(0)}, f"size: {{'shortest_edge': 0}}: {SIZE_TOLD}"),
        ({"size": {"shortest_edge": 40, "longest_edge": 80}}, SIZE_TOLD),
        ({"size": {"max_height": 40, "max_width": 40}}, SIZE_TOLD),
        ({"size": edge(31)}, "size: {'shortest_edge': 31}: expected 32 (crop_size) or more"),
        ({"size": square(31)}, "size: {'height': 31, 'width': 31}: expected 32 (crop_size) or more"),
        (
            {"do_center_crop": False, "size": edge(32)},
            "size: {'shortest_edge': 32}: expected {'height': n, 'width': n}, or do_center_crop with a",
        ),
        ({"do_center_crop": False, "size": square(40)}, "{'height': 40, 'width': 40}: expected 32, the"),
        ({"crop_size": {"height": 32, "width": 16}}, "expected {'height': n, 'width': n}, a square"),
        ({"crop_size": {"shortest_edge": 32}}, "expected {'height': n, 'width': n}, a square"),
        ({"crop_size": "32"}, "crop_size: '32': expected {'height': n, 'width': n}, a square"),
        ({"crop_size": 40}, "crop_size: 40: expected 32, the side of the images that the weights take"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: [0.5, 0.5]: expected a number for each"),
        ({"image_mean": [0.5, "0.5", 0.5]}, "image_mean: [0.5, '0.5', 0.5]: expected"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean: [0.5, nan, 0.5]: expected"),
        ({"image_mean": 0.5}, "image_mean: 0.5: expected a number for each"),
        ({"image_std": [0.5, 0, 0.5]}, "expected a number for each of red, green and blue, above 0"),
        ({"do_pad": True}, "do_pad: True: expected no such key"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order: True: expected no such key"),
        ({"include_top": True}, "include_top: True: expected no such key: images are only resized"),
        ({"image_processor_type": 3}, "image_processor_type: 3: expected the name of a class"),
        ({"image_processor_type": "CLIPImageProcessor", "do_pad": True}, "do_pad: True: expected false"),
        ({"image_processor_type": "CLIPImageProcessor", "use_square_size": True}, "use_square_size: True: "),
        ({"image_processor_type": "SiglipImageProcessor", "do_center_crop": False, "size": 32},
         "size: 32: expected {'height': n, 'width': n}, or do_center_crop"),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": None, "size": None},
         "crop_size: None: expected 32, the side"),
        ({"image_processor_type": "ViTImageProcessor", "crop_size": None},
         "crop_size: None: expected {'height': n"),
        ({"image_processor_type": "LevitImageProcessor"},
         "image_processor_type: 'LevitImageProcessor': expected a class that only resizes and crops"),
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_used_is_named(
    values: dict[str, Any], told: str, tmp_path: Path
) -> None:
    assert told in refusal(WHOLE | values, tmp_path)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"do_center_crop": True}, "do_center_crop: True: expected false: images of this class"),
        ({"size": square(32)}, "size: {'height': 32, 'width': 32}: expected {'shortest_edge': n}, as"),
        ({"crop_pct": 0}, "crop_pct: 0: expected the share of the side that is kept"),
        ({"crop_pct": 1.5}, "crop_pct: 1.5: expected the share"),
        ({"crop_pct": "0.875"}, "crop_pct: '0.875': expected the share"),
        ({"size": edge(40)}, "size: {'shortest_edge': 40}: expected 32, the side of the"),
        ({"size": 400}, "size: 400: expected 32, the side of the"),
        ({"size": None}, "size: None: expected 32, the side of the"),
    ],
)  # fmt: skip
def test_a_key_of_convnext_that_cannot_be_used_is_named(
    values: dict[str, Any], told: str, tmp_path: Path
) -> None:
    sound = {"image_processor_type": "ConvNextImageProcessor", "size": edge(32)}
    assert told in refusal(sound | values, tmp_path)


@pytest.mark.parametrize(
    "processor",
    [EfficientNetImageProcessorPil(), LevitImageProcessorPil(), Siglip2ImageProcessorPil()],
)
def test_what_transformers_saves_for_classes_that_do_more_is_refused(
    processor: PilBackend, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="expected a class that only resizes and crops images"):
        image_spec("m", saved(processor, tmp_path), None)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, f"m: no {PREPROCESSOR}, or {PROCESSOR}: fetch it"),
        ({PREPROCESSOR: "[]"}, f"m: {PREPROCESSOR}: not a JSON object"),
        ({PREPROCESSOR: "{"}, f"m: {PREPROCESSOR}: not JSON"),
        ({PREPROCESSOR: "{}"}, f"m: {PREPROCESSOR}: no key 'do_resize': expected true or false"),
        ({PROCESSOR: "{}"}, f"m: {PROCESSOR}: no key 'image_processor': expected how images are"),
        ({PROCESSOR: '{"image_processor": 3}', PREPROCESSOR: "{}"}, "image_processor: 3: expected how"),
        ({PROCESSOR: '{"image_processor": {}}'}, f"m: {PROCESSOR}: image_processor: no key 'do_resize'"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(
    files: Mapping[str, str], told: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        image_spec("m", {name: tmp_path / name for name in files}, None)
    assert told in str(caught.value)
