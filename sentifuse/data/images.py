"""Bytes of an image -> the square RGB array that an encoder asks for."""

import io
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageEnhance, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]  # (S, S, 3)
# A part of a picture: left, top, right and lower edge as shares of its width and height, 0..1.
Box = tuple[float, float, float, float]
# Pillow's filters, in the order of its numbers.
Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
RESAMPLES: tuple[Resample, ...] = get_args(Resample)

# Files come from strangers: Pillow's other readers are rarely used, some start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8")
# A small file can unpack to gigabytes. This many pixels, above which Pillow warns, take 270 MB as RGB.
MAX_PIXELS = 89_478_485
MAX_BYTES = 2**28  # of a file, which is read in whole
# Modes of Pillow that do not say which value is white.
DEEP_MODES = ("I", "F")


class ImageError(OSError):
    """Bytes that are no image to work with; `reason` says why in the same words for all files alike."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class ImageSpec:
    """How an encoder wants its images.

    Attributes:
        resize: length of the shorter side after resizing, in pixels; with `squash` of both sides.
        crop: side of the centre crop that follows, in pixels, at most `resize`.
        mean: what is subtracted from each channel, of values in 0..1.
        std: what each channel is then divided by.
        squash: whether an image loses its proportions: it is resized to a square.
        resample: the filter of the resizing.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    # Records from before there was a choice lack these.
    squash: bool = False
    resample: Resample = "bicubic"

    def __repr__(self) -> str:
        """The fields, without those that hold their default.

        Encoders' fingerprints are made from this text: it must stay what it was before the fields with
        a default were added, or all that is in stores would be encoded again.
        """
        values = [(field, getattr(self, field.name)) for field in fields(self)]
        told = [f"{field.name}={value!r}" for field, value in values if value != field.default]
        return f"ImageSpec({', '.join(told)})"


@dataclass(frozen=True)
class ViewSpec:
    """How a random view of a training image is drawn."""

    scale_min: float  # least share of the area that a crop keeps, 0..1
    flip: bool  # whether half of the views are mirrored
    jitter: float  # largest relative change of brightness, contrast and saturation, 0..1


def read(raw: bytes) -> Image.Image:
    """Decodes to RGB, upright as the EXIF orientation says; of an animation the first frame.

    Raises:
        ImageError: as `open_image` and `decode`.
    """
    return decode(open_image(raw))


def open_image(raw: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads the header only: everything that opens an image goes through here.

    Raises:
        ImageError: `raw` is not an image of `FORMATS`, or has more than `max_pixels` pixels.
    """
    try:
        image = Image.open(io.BytesIO(raw), formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError("too many pixels", f"more than {max_pixels} pixels") from None
    except Exception as error:  # a damaged header causes any error in Pillow's readers
        # Some of them read the whole file at once.
        reason = "image cut off or damaged" if raw.startswith(_STARTS) else "not an image"
        unknown = isinstance(error, UnidentifiedImageError)
        detail = f"none of {', '.join(FORMATS)}" if unknown else str(error)
        raise ImageError(reason, detail) from None
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError("too many pixels", f"{width} x {height} pixels, more than {max_pixels}")
    return image


def decode(image: Image.Image) -> Image.Image:
    """Decodes what `open_image` opened: to RGB, upright as the EXIF orientation says.

    Raises:
        ImageError: it is damaged or cut off, or has 32 bits per pixel in a range that is none of the usual.
    """
    with decoding():
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16") or upright.mode in DEEP_MODES:
            # Pillow would cut off at 255.
            upright = Image.fromarray(_eight_bits(np.asarray(upright)))
        return upright.convert("RGB")


def cover(image: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """The picture with all `boxes` of it painted over in its mean colour; itself if there are none."""
    if not boxes:
        return image
    mean = tuple(np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0].tolist())
    covered, sides = image.copy(), image.size * 2
    for box in boxes:
        edges = [round(share * side) for share, side in zip(box, sides, strict=True)]
        covered.paste(mean, (edges[0], edges[1], edges[2], edges[3]))
    return covered


def from_array(array: ArrayLike) -> Image.Image:
    """An image of the values of its pixels, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).

    They are numbers in 0..255 or 0..65535, floats in 0..1, or truth values.

    Raises:
        ImageError: the array has another shape, or other values.
    """
    values = np.asarray(array)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if not values.size or values.ndim < 2 or values.shape[2:] not in ((), (3,), (4,)):
        found = f"an array of shape {values.shape}"
        raise ImageError("not an image", f"{found}: expected (H, W), (H, W, 3) or (H, W, 4)")
    return Image.fromarray(_eight_bits(values))


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of any number of bits as 0..255. The smallest usual range that holds all is taken for theirs."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise ImageError("not an image", f"pixels of type {values.dtype}: expected numbers")
    low, high = float(values.min()), float(values.max())
    # Of sixteen bits the upper eight are kept.
    scales = {1: 255.0, 255: 1.0, 65535: 1 / 256}
    if values.dtype.kind != "f":
        scales.pop(1)
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        scales = {65535: 1 / 256}
    fitting = [scale for top, scale in scales.items() if low >= 0 and high <= top]
    if not fitting:
        raise ImageError(
            "pixel values out of range", f"{low}..{high}, expected 0..1, 0..255 or 0..65535"
        )
    scaled: NDArray[np.uint8] = (values * fitting[0] + (fitting[0] > 1) / 2).astype(np.uint8)
    return scaled


@contextmanager
def decoding() -> Iterator[None]:
    """Turns any error that a damaged file causes in Pillow's readers into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("image cut off or damaged", str(error)) from error


def centre(image: Image.Image, spec: ImageSpec) -> Pixels:
    """Resizes as `spec` says and takes the centre crop, (spec.crop, spec.crop, 3).

    The longer side and the place of the crop are rounded down, as in transformers.
    """
    if spec.squash:
        start = (spec.resize - spec.crop) // 2
        end = start + spec.crop
        # The whole one: which direction Pillow resizes first depends on the sizes, and rounds differently.
        squashed = image.resize((spec.resize, spec.resize), _filter(spec))
        return np.asarray(squashed.crop((start, start, end, end)))
    return np.asarray(_resized_crop(image, spec))


def _resized_crop(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Resizes the shorter side to `spec.resize` and takes the centre crop.

    Only the source area that ends in the crop is resampled: a narrow image would become a very long one.
    Values are those of a resize of the whole image followed by the crop, but for rounding.
    """
    width, height = image.size
    short = min(width, height)
    new_width = spec.resize * width // short
    new_height = spec.resize * height // short
    left = (new_width - spec.crop) // 2
    top = (new_height - spec.crop) // 2
    box = (
        left * width / new_width,
        top * height / new_height,
        (left + spec.crop) * width / new_width,
        (top + spec.crop) * height / new_height,
    )
    return image.resize((spec.crop, spec.crop), _filter(spec), box=box)


def random_view(image: Image.Image, spec: ImageSpec, view: ViewSpec, seed: str) -> Pixels:
    """A random resized crop, mirrored half of the time, with slight colour changes.

    The crop follows Szegedy et al. 2015 (arXiv:1409.4842): a share of the area drawn from
    `view.scale_min`..1, an aspect ratio drawn log-uniformly from 3/4..4/3. It is resized to a square with the
    filter of `spec`, for models that squash images, too. The same image and seed give the same view,
    wherever and whenever it is drawn.
    """
    draw = random.Random(seed)
    width, height = image.size
    area = width * height * draw.uniform(view.scale_min, 1.0)
    ratio = (4 / 3) ** draw.uniform(-1.0, 1.0)
    crop_width = min((area * ratio) ** 0.5, width)
    crop_height = min((area / ratio) ** 0.5, height)
    left = draw.uniform(0, width - crop_width)
    top = draw.uniform(0, height - crop_height)
    box = (left, top, left + crop_width, top + crop_height)
    result = image.resize((spec.crop, spec.crop), _filter(spec), box=box)
    if view.flip and draw.random() < 0.5:
        result = ImageOps.mirror(result)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        result = enhance(result).enhance(1 + draw.uniform(-view.jitter, view.jitter))
    return np.asarray(result)


def _filter(spec: ImageSpec) -> Image.Resampling:
    return Image.Resampling[spec.resample.upper()]
