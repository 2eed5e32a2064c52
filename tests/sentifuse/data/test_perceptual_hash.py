import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from sentifuse.data import images, perceptual_hash
from sentifuse.data.duplicates import MAX_DISTANCE, merge_close
from tests.places import REAL_DATA, on_real_data

REAL_IMAGES = REAL_DATA / "data"


def scene(seed: int, width: int = 480, height: int = 360) -> Image.Image:
    """Coarse and fine structure, as in a photograph."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3))
    for cells in (3, 6, 12, 40):
        layer = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        resized = Image.fromarray(layer).resize((width, height), Image.Resampling.BICUBIC)
        out += np.asarray(resized) / cells
    return Image.fromarray((out / out.max() * 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def hash_of(raw: bytes) -> str:
    return perceptual_hash.perceptual_hash(images.open_image(raw))


def hashed(image: Image.Image, kind: str = "JPEG", **options: Any) -> str:
    return hash_of(encoded(image, kind, **options))


def distance(one: str, other: str) -> int:
    assert one
    assert other
    return (int(one, 16) ^ int(other, 16)).bit_count()


def rotated_and_tagged(image: Image.Image) -> bytes:
    """Stored lying on its side, with the EXIF orientation that sets it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.rotate(90, expand=True), quality=95, exif=exif)


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: encoded(image, quality=60),
        lambda image: encoded(image.resize((240, 180)), quality=60),
        lambda image: encoded(image.resize((1200, 900)), quality=85),
        lambda image: encoded(image.resize((480, 300)), quality=85),
        lambda image: encoded(image, quality=80, progressive=True),
        lambda image: encoded(image, "PNG"),
        lambda image: encoded(image, "WEBP", quality=70),
        lambda image: encoded(ImageOps.grayscale(image), quality=90),
        rotated_and_tagged,
    ],
    ids=["quality", "smaller", "larger", "squeezed", "progressive", "png", "webp", "grey", "exif"],
)
def test_a_copy_in_another_encoding_has_a_close_hash(copy: Callable[[Image.Image], bytes]) -> None:
    # A few coefficients lie so close to the median that more bits flip: such a copy is missed.
    found = [
        distance(hashed(scene(seed), quality=95), hash_of(copy(scene(seed)))) for seed in range(20)
    ]
    assert sum(bits <= MAX_DISTANCE for bits in found) >= 18
    assert max(found) <= 6


def test_different_pictures_have_different_hashes() -> None:
    hashes = [hashed(scene(seed, 120, 90)) for seed in range(300)]
    assert len(set(hashes)) == 300
    assert {len(found) for found in hashes} == {16}
    assert merge_close(hashes) == hashes


@on_real_data
@pytest.mark.parametrize("scale", [1.0, 0.8, 0.5])
def test_copies_of_real_pictures_are_close(scale: float) -> None:
    found = []
    for path in sorted(REAL_IMAGES.glob("*.jpg"))[::45]:
        image = Image.open(path).convert("RGB")
        size = (round(image.width * scale), round(image.height * scale))
        pair = (
            hash_of(path.read_bytes()),
            hashed(image.resize(size), quality=60),
        )
        found += [distance(*pair)] if all(pair) else []
    assert len(found) > 100
    # 86-92 % equal and 99 % within the distance, of 400 others.
    assert sum(bits == 0 for bits in found) > 0.8 * len(found)
    assert sum(bits <= MAX_DISTANCE for bits in found) > 0.97 * len(found)


def test_a_mirrored_picture_is_another_one() -> None:
    assert hashed(scene(0)) != hashed(ImageOps.mirror(scene(0)))


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (1, 1), "red"),
        Image.new("RGB", (300, 200), "black"),
        Image.new("RGB", (300, 200), "white"),
        Image.linear_gradient("L"),
        Image.linear_gradient("L").rotate(90),
        Image.new("RGBA", (8, 8)),
    ],
    ids=["pixel", "black", "white", "vertical", "horizontal", "transparent"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_with_nothing_in_it_has_no_hash(image: Image.Image, kind: str) -> None:
    assert hashed(image.convert("RGB") if kind == "JPEG" else image, kind) == ""


def test_a_faint_pattern_has_no_hash_and_a_small_thing_on_white_has_one() -> None:
    rng = np.random.default_rng(0)
    faint = Image.fromarray(rng.integers(126, 130, (200, 200), dtype=np.uint8))
    assert hashed(faint, "PNG") == ""
    card = Image.new("L", (200, 200), "white")
    card.paste(0, (40, 120, 60, 130))
    assert len(hashed(card, "PNG")) == 16


def test_sixteen_bits_a_pixel_are_read() -> None:
    grey = np.asarray(ImageOps.grayscale(scene(1)))
    deep = Image.fromarray(grey.astype(np.uint16) * 256)
    assert hashed(deep, "PNG") == hashed(Image.fromarray(grey), "PNG") != ""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_an_error_and_not_just_another_picture(
    kind: str, share: float
) -> None:
    raw = encoded(scene(2), kind)
    assert hash_of(raw)
    with pytest.raises(images.ImageError) as caught:
        hash_of(raw[: int(share * len(raw))])
    assert caught.value.reason == "image cut off or damaged"


@pytest.mark.parametrize("progressive", [False, True])
def test_decoding_at_a_fraction_of_the_size_notices_what_decoding_in_whole_notices(
    progressive: bool,
) -> None:
    raw = encoded(scene(2, 1200, 900), progressive=progressive)
    rng = random.Random(0)
    outcomes = []
    for cut in (1, 2, 3, *(rng.randrange(len(raw) - 700) for _ in range(20))):
        whole = hashed_whole = True
        try:
            images.read(raw[:-cut])
        except images.ImageError:
            whole = False
        try:
            hash_of(raw[:-cut])
        except images.ImageError:
            hashed_whole = False
        assert whole == hashed_whole, cut
        outcomes.append(whole)
    assert not all(outcomes)
