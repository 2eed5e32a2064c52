"""How rows are encoded, on record: enough to name their space in the store, and to encode one more."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sentifuse.config import params
from sentifuse.encoders import ocr
from sentifuse.features.encoding import EncoderRecord, Setting
from sentifuse.features.reading import ReaderRecord
from sentifuse.features.store.space import SpaceRecord
from sentifuse.runtime.files import read_json, write_json

FILE = "encoding.json"


@dataclass(frozen=True)
class EncodingRecord:
    """All that decides the bits of the features.

    Attributes:
        encoders: those of images first; attention reads the tokens of the first of each modality.
        views: V, views of each image, the plain one included.
        setting: device, batch sizes, how views are drawn.
        libraries: `versions` of the process that encoded; other versions may change the last digits.
    """

    __pydantic_config__ = params.STRICT
    encoders: tuple[EncoderRecord, ...]
    views: int
    setting: Setting
    libraries: dict[str, str]

    def of(self, key: str) -> EncoderRecord:
        """The record of one encoder."""
        return next(each for each in self.encoders if each.key == key)

    @property
    def reader(self) -> ReaderRecord | None:
        """What reads the text in pictures; None if it is not read."""
        found = (ReaderRecord(each.ocr) for each in self.encoders if each.ocr)
        return next(found, None)

    def spaces(self) -> list[SpaceRecord]:
        """All spaces that the features come from."""
        found = [self.space(each) for each in self.encoders]
        return [*found, self.reading_space(self.reader)] if self.reader else found

    def reading_space(self, reader: ReaderRecord) -> SpaceRecord:
        """The space of the texts in pictures, whichever encoder they are for."""
        libraries = {name: self.libraries[name] for name in ("pillow", "onnxruntime", "opencv")}
        parts = {"reader": reader.fingerprint, **libraries}
        return SpaceRecord(reader.modality, reader.name, parts)

    def space(self, encoder: EncoderRecord) -> SpaceRecord:
        """The space of the rows of an encoder; its name differs whenever a row could differ."""
        setting = self.setting
        parts: dict[str, object] = {
            "version": encoder.version,
            "torch": self.libraries["torch"],
            "transformers": self.libraries["transformers"],
            "encoder": encoder.fingerprint,
            "split": encoder.split,
            "tokens": encoder.tokens,
            "hidden_dtype": setting.hidden_dtype,
            "precision": encoder.precision,
            "device": setting.device,
            "numerics": setting.numerics,
        }
        if encoder.modality == "image":
            parts |= {"batch": setting.image_batch, "views": asdict(setting.views)}
            parts |= {"pillow": self.libraries["pillow"]}
        else:
            parts |= {"batch": setting.text_batch, "emoji": self.libraries["emoji"]}
        return SpaceRecord(encoder.modality, encoder.name, parts)


def versions(reads_images: bool = False) -> dict[str, str]:
    """The versions of the libraries that a row's bits depend on.

    Args:
        reads_images: whether the text in images is read, too.

    Raises:
        UserError: what reads it is not installed.
    """
    import emoji
    import PIL
    import transformers

    return {
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
        "emoji": emoji.__version__,
        **(ocr.versions() if reads_images else {}),
    }


def write(record: EncodingRecord, folder: Path) -> None:
    """Writes `record` beside the features in `folder`."""
    write_json(folder / FILE, asdict(record))


def read(folder: Path) -> EncodingRecord:
    """Reads what `write` wrote.

    Raises:
        UserError: the file is missing, or of another version.
    """
    path = folder / FILE
    return parse(read_json(path), str(path))


def parse(values: Mapping[str, Any], source: str) -> EncodingRecord:
    """Checks `values`; `source` stands in front of the message.

    Raises:
        UserError: a key is missing, unknown or of another type.
    """
    return params.parse(EncodingRecord, dict(values), source)
