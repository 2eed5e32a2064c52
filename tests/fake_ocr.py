"""A reader of text in pictures that needs no package, and pictures for it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sentifuse.data.images import ViewSpec
from sentifuse.data.manifest import Sample
from sentifuse.encoders import ocr
from sentifuse.features import encoding_record, preprocessing, schema, selection
from sentifuse.features.encoding import Setting
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines import local
from sentifuse.features.schema import Features
from sentifuse.features.selection import Wanted
from sentifuse.runtime.files import sha256

# The keys of the encoders.
IMAGE, TEXT, OCR = "image_clip", "text_clip", "ocr_clip"
SETTING = Setting("float16", 4, 2, ViewSpec(0.5, True, 0.1), "cpu", "native")
# What stands in each picture, and the text beside it.
IN_IMAGES = ("good day", "", "the bad day 天气", "good day")
TEXTS = ("the day", "good", "bad", "good good")


class FakeReader:
    """Knows the texts of `picture` by their colour; counts the pictures that it reads."""

    fingerprint = "f" * 64

    def __init__(self) -> None:
        self.seen = 0

    def read(self, picture: Image.Image) -> str:
        """The text in a picture."""
        self.seen += 1
        return IN_IMAGES[np.asarray(picture)[0, 0, 0] // 50]


def install(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    """Puts a `FakeReader` in the place of RapidOCR."""
    reader = FakeReader()
    monkeypatch.setattr(ocr, "load", lambda: reader)
    monkeypatch.setattr(ocr, "fingerprint", lambda: reader.fingerprint)
    monkeypatch.setattr(ocr, "versions", lambda: {"onnxruntime": "1", "opencv": "1"})
    return reader


def picture(number: int) -> bytes:
    """A PNG file with the text `IN_IMAGES[number]`."""
    out = io.BytesIO()
    Image.new("RGB", (40, 50), (50 * number, 90, 10)).save(out, "PNG")
    return out.getvalue()


def samples(folder: Path) -> list[Sample]:
    """The manifest of a sample for each picture, whose files are written to `folder`."""
    found = []
    for number, text in enumerate(TEXTS):
        image_path, text_path = folder / f"{number}.png", folder / f"{number}.txt"
        image_path.write_bytes(picture(number))
        text_path.write_text(text, encoding="utf-8")
        hashes = sha256(picture(number)), sha256(text.encode())
        found.append(Sample(f"g{number}", str(image_path), str(text_path), *hashes))
    return found


def preprocessed(
    folder: Path, clip: Path, text: Path | None = None, precision: str = "fp32"
) -> tuple[Features, EncodingRecord, dict[str, Any]]:
    """Features of the four samples, one that lacks its image, and one that lacks its text.

    Args:
        folder: gets the files, the store and `features`.
        clip: the folder of a model, that encodes both modalities.
        text: that of another one for texts.
        precision: of the encoders.

    Returns:
        The features, how they were encoded, and what `metrics/features.json` would hold.
    """
    wanted = [
        Wanted("image", [str(clip)], [0]),
        Wanted("text", [str(text or clip)], [1], ocr=True),
    ]
    backbone = selection.load(wanted, None)
    record = EncodingRecord(
        selection.records(backbone, wanted, True, precision),
        2,
        SETTING,
        encoding_record.versions(True),
    )
    given = samples(folder)
    given.append(Sample("g4", "", given[0].text, "", given[0].text_sha256))
    given.append(Sample("g5", given[2].image, "", given[2].image_sha256, ""))
    out, store = folder / "features", folder / "store"
    report = preprocessing.preprocess(given, backbone, record, local.encode, store, out)
    return schema.read(out), record, report
