import io
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sentifuse.data import images
from sentifuse.data.images import ImageSpec, ViewSpec
from tests.places import REAL_DATA, ROOT, on_real_data

SPEC = ImageSpec(resize=32, crop=24, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
VIEW = ViewSpec(scale_min=0.5, flip=True, jitter=0.2)
PLAIN_VIEW = ViewSpec(scale_min=0.5, flip=False, jitter=0.0)
REAL_IMAGES = REAL_DATA / "data"


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coarse noise, as smooth as a photograph."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    # Where the red top-left corner of the stored picture is when shown upright.
    [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (6, (0, -1)), (8, (-1, 0))],
)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_exif_orientation_is_honoured(
    kind: str, orientation: int, corner: tuple[int, int]
) -> None:
    stored = np.zeros((4, 8, 3), dtype=np.uint8)
    stored[0, 0] = 255, 0, 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    upright = images.read(encoded(Image.fromarray(stored), kind, exif=exif, **options))
    assert upright.size == ((4, 8) if orientation in (6, 8) else (8, 4))
    pixels = np.asarray(upright)
    assert pixels[corner].tolist() == [255, 0, 0]
    assert pixels.sum() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_every_mode_becomes_rgb_with_the_same_colours(mode: str) -> None:
    image = noise(16, 12).convert(mode)
    result = images.read(encoded(image))
    assert (result.mode, result.size) == ("RGB", (16, 12))
    np.testing.assert_array_equal(np.asarray(result), np.asarray(image.convert("RGB")))


def test_a_transparent_palette_becomes_rgb() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    result = images.read(encoded(image, transparency=0))
    assert np.asarray(result).reshape(-1, 3).tolist() == [[10, 20, 30]] * 16


def test_cmyk_jpeg_becomes_rgb() -> None:
    blue = Image.new("RGB", (16, 16), (20, 40, 200))
    result = images.read(encoded(blue.convert("CMYK"), "JPEG", quality=95))
    assert result.mode == "RGB"
    assert np.abs(np.asarray(result).astype(int) - (20, 40, 200)).max() <= 4


def test_sixteen_bit_grey_keeps_its_brightness() -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    result = np.asarray(images.read(encoded(Image.fromarray(ramp)))).astype(int)
    assert np.abs(result - (ramp // 256)[..., None]).max() <= 1


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((RAMP * 65535).astype(np.int32), RAMP * 255),
        ((RAMP * 255).astype(np.int32), RAMP * 255),
        (RAMP.astype(np.float32), RAMP * 255),
        ((RAMP * 0.2).astype(np.float32), RAMP * 0.2 * 255),
        ((RAMP * 255).astype(np.float32), RAMP * 255),
        ((RAMP * 65535).astype(np.float32), RAMP * 255),
        (np.zeros((8, 8), np.float32), RAMP * 0),
        (np.ones((8, 8), np.float32), RAMP * 0 + 255),
    ],
    ids=["int16", "int8", "0..1", "0..0.2", "0..255", "0..65535", "black", "white"],
)
def test_thirty_two_bits_a_pixel_keep_their_brightness(
    values: np.ndarray, expected: np.ndarray
) -> None:
    raw = encoded(Image.fromarray(values), "TIFF")
    assert Image.open(io.BytesIO(raw)).mode in images.DEEP_MODES
    result = np.asarray(images.read(raw)).astype(float)
    assert np.abs(result - expected[..., None]).max() <= 1


@pytest.mark.parametrize(
    "value", [-1, 2**20, np.float32(-0.5), np.float32(1e6), np.float32(np.nan), np.float32(np.inf)]
)
def test_thirty_two_bits_of_no_known_range_are_refused(value: Any) -> None:
    values = (RAMP * 255).astype(np.float32 if isinstance(value, np.float32) else np.int32)
    values[3, 3] = value
    with pytest.raises(images.ImageError, match=r"expected 0\.\.1, 0\.\.255") as caught:
        images.read(encoded(Image.fromarray(values), "TIFF"))
    assert caught.value.reason == "pixel values out of range"


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (8, 6, 4)])
@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.uint16, np.int64, np.float16, np.float64])
def test_arrays_become_images(shape: tuple[int, ...], kind: type) -> None:
    white = {np.uint8: 255, np.uint16: 65535, np.int64: 255}.get(kind, 1)
    values = np.zeros(shape, kind)
    values[:4] = white
    image = images.from_array(values)
    assert image.size == (6, 8)
    seen = np.asarray(image)
    assert (seen[:4].min(), seen[4:].max()) == (255, 0)


def test_the_first_frame_of_an_animation_is_read() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.asarray(images.read(raw))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("PNG", {"default_image": False})])
def test_the_first_frame_of_other_animations_is_read(kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=9, **options)
    with Image.open(io.BytesIO(raw)) as animation:
        assert animation.is_animated  # type: ignore[attr-defined]
    assert np.asarray(images.read(raw))[0, 0].tolist() == [255, 0, 0]


def test_sixteen_bits_a_channel_become_eight() -> None:
    rows = np.zeros((4, 5, 3), dtype=">u2")
    rows[..., 0], rows[..., 1] = 0x8040, 0xFFFF
    raw = png(5, 4, depth=16, colour=2, rows=[row.tobytes() for row in rows])
    assert np.asarray(images.read(raw)).reshape(-1, 3).tolist() == [[0x80, 0xFF, 0]] * 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_pixel_is_an_image(kind: str) -> None:
    result = images.read(encoded(Image.new("RGB", (1, 1), "white"), kind))
    assert (result.mode, result.size) == ("RGB", (1, 1))


def png(width: int, height: int, *, depth: int, colour: int, rows: list[bytes]) -> bytes:
    """A PNG file made by hand: Pillow writes no colours of sixteen bits."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checked = name + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each) for each in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [30_000, 12_000])
@pytest.mark.parametrize("function", [images.read, images.open_image])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    side: int, function: Callable[[bytes], object]
) -> None:
    raw = png(side, side, depth=8, colour=0, rows=[])
    with pytest.raises(images.ImageError, match="more than 89478485") as caught:
        function(raw)
    assert caught.value.reason == "too many pixels"


def test_in_a_stage_pillow_does_not_warn_where_the_image_is_refused() -> None:
    # In a process of its own, which may change its filters of warnings.
    code = (
        "import sys\nfrom sentifuse.data import images\nfrom sentifuse.runtime import process\n"
        "process.start()\n"
        "try:\n    images.open_image(sys.stdin.buffer.read())\n"
        "except images.ImageError as error:\n    print(error.reason)\n"
    )
    raw = png(10_000, 10_000, depth=8, colour=0, rows=[])
    done = subprocess.run([sys.executable, "-c", code], input=raw, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"too many pixels\n", b"")


def test_every_module_opens_images_through_this_one() -> None:
    root = ROOT / "sentifuse"
    opening = [
        path.name for path in sorted(root.rglob("*.py")) if "Image.open(" in path.read_text("utf-8")
    ]
    assert opening == ["images.py"]


@pytest.mark.parametrize("raw", [b"", b"no image", b"\xff\xd8\xff\xe0" + bytes(50)])
def test_what_is_no_image_is_an_os_error(raw: bytes) -> None:
    with pytest.raises(OSError, match="none of JPEG"):
        images.read(raw)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_image_that_is_cut_off_is_an_os_error(kind: str, share: float) -> None:
    rng = np.random.default_rng(0)
    raw = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    with pytest.raises(OSError):  # noqa: PT011 - each decoder words it in its own way
        images.read(raw[: int(len(raw) * share)])


@pytest.mark.parametrize(
    "size",
    [
        (32, 32), (24, 24), (64, 64), (640, 480), (480, 640), (333, 251), (100, 33), (33, 100),
        (1000, 40), (40, 1000), (31, 77), (25, 24), (17, 90),
    ],
)  # fmt: skip
@pytest.mark.parametrize("spec", [SPEC, ImageSpec(24, 24, (0.5,) * 3, (0.5,) * 3)])
def test_centre_equals_a_resize_of_the_whole_image_and_a_centre_crop(
    size: tuple[int, int], spec: ImageSpec
) -> None:
    image = noise(*size)
    width, height = size
    if width <= height:
        whole = image.resize((spec.resize, spec.resize * height // width), Image.Resampling.BICUBIC)
    else:
        whole = image.resize((spec.resize * width // height, spec.resize), Image.Resampling.BICUBIC)
    left, top = (whole.width - spec.crop) // 2, (whole.height - spec.crop) // 2
    expected = np.asarray(whole.crop((left, top, left + spec.crop, top + spec.crop)))
    result = images.centre(image, spec)
    assert result.dtype == np.uint8
    assert result.shape == (spec.crop, spec.crop, 3)
    assert np.abs(result.astype(int) - expected.astype(int)).max() <= 1
    assert expected.std() > 5


@pytest.mark.parametrize("resample", images.RESAMPLES)
@pytest.mark.parametrize("size", [(32, 32), (100, 33), (33, 100), (24, 24), (1000, 40), (7, 5)])
def test_squashing_is_a_resize_to_a_square_and_a_centre_crop(
    size: tuple[int, int], resample: images.Resample
) -> None:
    image = noise(*size)
    kind = Image.Resampling(images.RESAMPLES.index(resample))
    assert kind.name.lower() == resample
    for resize, crop in ((24, 24), (32, 24), (29, 24)):
        whole = np.asarray(image.resize((resize, resize), kind))
        start = (resize - crop) // 2
        expected = whole[start : start + crop, start : start + crop]
        spec = replace(SPEC, resize=resize, crop=crop, squash=True, resample=resample)
        np.testing.assert_array_equal(images.centre(image, spec), expected)


@pytest.mark.parametrize("squash", [False, True])
def test_the_filter_is_honoured(squash: bool) -> None:
    image = noise(100, 70)
    specs = [replace(SPEC, squash=squash, resample=name) for name in images.RESAMPLES]
    centres = {images.centre(image, spec).tobytes() for spec in specs}
    views = {images.random_view(image, spec, PLAIN_VIEW, "s").tobytes() for spec in specs}
    assert len(centres) == len(views) == len(images.RESAMPLES)


@pytest.mark.parametrize("resample", images.RESAMPLES)
def test_a_view_for_a_model_that_squashes_is_the_same_crop(resample: images.Resample) -> None:
    image = noise(100, 70)
    spec = replace(SPEC, resample=resample)
    view = images.random_view(image, replace(spec, squash=True), VIEW, "s")
    np.testing.assert_array_equal(view, images.random_view(image, spec, VIEW, "s"))


def test_the_text_of_a_spec_names_new_fields_only_where_they_differ() -> None:
    """It is part of fingerprints, which stores were filled with before there were these fields."""
    old = "resize=32, crop=24, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)"
    assert f"{SPEC}" == f"ImageSpec({old})"
    new = replace(SPEC, squash=True, resample="lanczos")
    assert str(new) == f"ImageSpec({old}, squash=True, resample='lanczos')"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (3, 2000)])
def test_tiny_and_narrow_images_fill_the_square(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (10, 200, 30))
    for pixels in (images.centre(image, SPEC), images.random_view(image, SPEC, PLAIN_VIEW, "s")):
        assert pixels.shape == (24, 24, 3)
        assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[10, 200, 30]]


def test_a_view_is_a_function_of_image_and_seed() -> None:
    image = noise(60, 40)
    first = images.random_view(image, SPEC, VIEW, "abc.1")
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, images.random_view(image.copy(), SPEC, VIEW, "abc.1"))
    assert (first != images.random_view(image, SPEC, VIEW, "abc.2")).any()


def test_views_do_not_touch_the_image() -> None:
    image = noise(60, 40)
    before = image.tobytes()
    images.random_view(image, SPEC, VIEW, "s")
    assert image.tobytes() == before


def gradient(width: int, height: int) -> Image.Image:
    """Red tells the column and green the row, both 0..255 from edge to edge."""
    x = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    y = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
    return Image.fromarray(np.stack([x, y, 0 * x], axis=2).round().astype(np.uint8))


def test_views_are_crops_within_the_source_of_the_area_asked_for() -> None:
    image = gradient(200, 150)
    areas, ratios, starts = [], [], []
    for seed in range(200):
        view = images.random_view(image, SPEC, PLAIN_VIEW, str(seed)).astype(float)
        # What lies between the outermost pixel centres, scaled up to the whole crop.
        span = (view[-1, -1, :2] - view[0, 0, :2]) / 255 * 24 / 23
        assert (span > 0).all()
        assert (span <= 1.01).all()
        areas.append(span.prod())
        ratios.append(span[0] * 200 / (span[1] * 150))
        starts.append(view[0, 0, :2] / 255)
    # Crops as high as the image may keep less than the share that was drawn.
    assert 0.4 < min(areas) < 0.6
    assert 0.9 < max(areas) <= 1.01
    assert 0.7 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.4
    # Crops start anywhere, from the very edge on.
    assert np.min(starts, axis=0).max() < 0.03
    assert np.max(starts, axis=0).min() > 0.2


def test_the_whole_image_may_be_kept() -> None:
    view = images.random_view(gradient(100, 100), SPEC, ViewSpec(1.0, False, 0.0), "s")
    assert int(view[..., 1].max()) - int(view[..., 1].min()) > 180


@pytest.mark.parametrize(("flip", "low", "high"), [(True, 70, 130), (False, 0, 0)])
def test_half_of_the_views_are_mirrored_if_asked_for(flip: bool, low: int, high: int) -> None:
    image = gradient(64, 64)
    mirrored = 0
    for seed in range(200):
        view = images.random_view(image, SPEC, ViewSpec(0.5, flip, 0.0), str(seed))
        mirrored += int(view[12, 0, 0]) > int(view[12, -1, 0])
        assert view[0, 12, 1] < view[-1, 12, 1], "never upside down"
    assert low <= mirrored <= high


def test_jitter_changes_colours_within_its_bounds() -> None:
    grey = Image.new("RGB", (32, 32), (100, 100, 100))
    values = {
        int(images.random_view(grey, SPEC, ViewSpec(1.0, False, 0.2), str(seed))[0, 0, 0])
        for seed in range(100)
    }
    assert len(values) > 15
    assert min(values) >= 79
    assert max(values) <= 121
    still = images.random_view(grey, SPEC, ViewSpec(1.0, False, 0.0), "s")
    assert set(still.flatten().tolist()) == {100}


@on_real_data
def test_centre_equals_resize_and_crop_on_photographs() -> None:
    spec = ImageSpec(224, 224, (0.5,) * 3, (0.5,) * 3)
    paths = sorted(REAL_IMAGES.glob("*.jpg"))
    for path in paths[:: len(paths) // 10]:
        image = images.read(path.read_bytes())
        width, height = image.size
        short = min(width, height)
        size = (224 * width // short, 224 * height // short)
        left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
        whole = image.resize(size, Image.Resampling.BICUBIC)
        expected = np.asarray(whole.crop((left, top, left + 224, top + 224))).astype(int)
        assert np.abs(images.centre(image, spec) - expected).max() <= 1, path.name


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_format_is_read(kind: str) -> None:
    result = images.read(encoded(noise(40, 30), kind))
    assert (result.mode, result.size) == ("RGB", (40, 30))


def test_a_format_that_is_not_listed_is_refused() -> None:
    raw = encoded(noise(16, 12), "EPS")
    for reader in (images.open_image, images.read):
        with pytest.raises(OSError, match="none of JPEG"):
            reader(raw)


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    raw = encoded(noise(40, 30))
    images.open_image(raw, max_pixels=1200)
    with pytest.raises(OSError, match=r"40 x 30 pixels, more than 1199"):
        images.open_image(raw[:60], max_pixels=1199)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_pillow_would_only_warn_of_is_refused() -> None:
    assert images.MAX_PIXELS == Image.MAX_IMAGE_PIXELS
    raw = encoded(Image.new("1", (10_000, 9_000)))
    with pytest.raises(OSError, match="10000 x 9000 pixels, more than"):
        images.read(raw)


@pytest.mark.parametrize("kind", images.FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF files
def test_a_damaged_file_is_an_os_error_or_an_image(kind: str) -> None:
    raw = encoded(noise(50, 40), kind)
    rng = random.Random(0)
    failed = 0
    for _ in range(60):
        damaged = bytearray(raw)
        for _ in range(4):
            damaged[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        try:
            images.read(bytes(damaged[: rng.randrange(1, len(raw))]))
        except OSError:
            failed += 1
    assert failed > 10


def test_what_is_covered_has_the_mean_colour() -> None:
    picture = Image.new("RGB", (40, 20), (200, 0, 100))
    picture.paste((0, 0, 100), (0, 0, 20, 20))
    covered = images.cover(picture, [(0.0, 0.0, 0.25, 0.5), (0.75, 0.5, 1.0, 1.0)])
    assert covered.getpixel((0, 0)) == covered.getpixel((39, 19)) == (100, 0, 100)
    assert covered.getpixel((10, 0)) == covered.getpixel((0, 10)) == (0, 0, 100)
    assert covered.getpixel((30, 0)) == covered.getpixel((29, 19)) == (200, 0, 100)
    assert picture.getpixel((0, 0)) == (0, 0, 100)
    assert images.cover(picture, []) is picture
