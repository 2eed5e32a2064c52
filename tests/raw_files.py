"""Raw data sets in the layout of the course, for tests of what reads them."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEADER = "guid,tag\n"


def label_files(root: Path, train: str, predict: str | None = None) -> Path:
    """Writes the label files of `root`."""
    root.mkdir(exist_ok=True)
    (root / "train.txt").write_text(train, encoding="utf-8")
    if predict is not None:
        (root / "test_without_label.txt").write_text(predict, encoding="utf-8")
    return root


def sample_files(root: Path, suffixes: Mapping[str, str]) -> Path:
    """Writes an image with the given suffix, and a text, for every guid; no two are alike."""
    folder = root / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for number, (guid, suffix) in enumerate(suffixes.items()):
        Image.fromarray(noise(number)).save(folder / f"{guid}{suffix}")
        (folder / f"{guid}.txt").write_text(f"text of {guid}", encoding="utf-8")
    return root


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(seed: int, side: int = 24) -> np.ndarray:
    """(side, side, 3) random pixels."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def bomb(side: int = 30_000) -> bytes:
    """A PNG of a hundred bytes or so whose header says that it has `side` times `side` pixels."""
    import zlib

    png = bytearray(encoded(Image.new("L", (4, 4))))
    png[16:24] = side.to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4, "big")
    return bytes(png)
