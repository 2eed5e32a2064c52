"""A poor camera: the size of the picture, and how it is cut, lit and blurred."""

from random import Random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from demo.colours import GREY

SIDES = (200, 500)
"""The shortest and the longest side of a picture, in pixels."""


def frame(rng: Random) -> tuple[int, int]:
    """Returns a width and a height within `SIDES`, from portrait to panorama."""
    aspect = rng.choice((0.75, 0.8, 1.0, 1.0, 1.25, 1.33, 1.33, 1.5, 1.78))
    longest = rng.randint(380, SIDES[1])
    short = max(SIDES[0], round(longest / max(aspect, 1 / aspect)))
    return (longest, short) if aspect >= 1 else (short, longest)


def _crop(image: Image.Image, rng: Random) -> Image.Image:
    """Returns a tilted or cut part of the picture, never smaller than the shortest side."""
    if rng.random() < 0.2:
        image = image.rotate(rng.uniform(-7, 7), Image.Resampling.BILINEAR, fillcolor=GREY)
    keep = rng.uniform(0.8, 1.0) if rng.random() < 0.4 else 1.0
    wide, high = (max(SIDES[0], round(side * keep)) for side in image.size)
    x, y = rng.randint(0, image.width - wide), rng.randint(0, image.height - high)
    return image.crop((x, y, x + wide, y + high))


def _light(image: Image.Image, rng: Random) -> Image.Image:
    """Returns the picture in other light: brighter or darker, paler, with a cast, or grey."""
    strong = rng.random() < 0.08
    low, high = (0.5, 1.35) if strong else (0.85, 1.12)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(low, high))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.2 if strong else 0.8, 1.2))
    if rng.random() < 0.1:
        gains = [rng.uniform(0.7, 1.1) for _ in range(3)]
        table = [min(255, round(value * gain)) for gain in gains for value in range(256)]
        image = image.point(table)
    return ImageOps.grayscale(image) if rng.random() < 0.04 else image


def _sensor(image: Image.Image, rng: Random) -> Image.Image:
    """Returns the picture out of focus or grainy, or as it is."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.5)))
    if rng.random() < 0.2:
        noise = np.random.default_rng(rng.getrandbits(64))
        pixels = np.asarray(image, dtype=np.float32)
        grain = noise.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(3, 18)
        image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    return image


def photograph(image: Image.Image, rng: Random) -> Image.Image:
    """Returns the picture as the camera gives it, in RGB or seldom in greys (mode L)."""
    return _sensor(_light(_crop(image, rng), rng), rng)
