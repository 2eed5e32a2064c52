import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from sentifuse import perceptual_hash
from sentifuse.perceptual_hash import hash_files


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


def hashed(image: Image.Image, kind: str = "JPEG", **options: Any) -> str:
    return perceptual_hash.perceptual_hash(encoded(image, kind, **options))


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
def test_a_copy_in_another_encoding_has_the_same_hash(copy: Callable[[Image.Image], bytes]) -> None:
    # A bit whose coefficient is close to the median may flip: some copies are missed.
    seeds = range(20)
    same = [
        hashed(scene(seed), quality=95) == perceptual_hash.perceptual_hash(copy(scene(seed)))
        for seed in seeds
    ]
    assert sum(same) >= 16


def test_different_pictures_have_different_hashes() -> None:
    hashes = [hashed(scene(seed, 120, 90)) for seed in range(300)]
    assert len(set(hashes)) == 300
    assert {len(found) for found in hashes} == {16}


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
def test_a_file_that_is_cut_off_has_no_hash(kind: str) -> None:
    raw = encoded(scene(2), kind)
    cut = raw[: len(raw) // 2]
    assert perceptual_hash.perceptual_hash(raw)
    assert perceptual_hash.perceptual_hash(cut) == ""


@pytest.mark.parametrize("raw", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_bytes_that_are_no_image_have_no_hash(raw: bytes) -> None:
    assert perceptual_hash.perceptual_hash(raw) == ""


def test_files_are_hashed_in_order_whatever_the_number_of_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for seed in range(7):
        path = tmp_path / f"{seed}.jpg"
        path.write_bytes(encoded(scene(seed, 60, 40)))
        paths.append(str(path))
    monkeypatch.setattr(perceptual_hash, "_CHUNK", 2)
    expected = [hashed(scene(seed, 60, 40)) for seed in range(7)]
    for cores in (1, 3, 16):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, cores=cores: set(range(cores)))
        assert hash_files(paths) == expected
    assert hash_files([]) == []
