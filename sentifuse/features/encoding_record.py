"""How rows are encoded, on record: enough to name their space in the store, and to encode one more."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sentifuse.config import params
from sentifuse.data.images import ImageSpec
from sentifuse.encoders.interface import Backbone
from sentifuse.features import encoding
from sentifuse.features.encoding import Modality, Setting
from sentifuse.features.store.space import SpaceRecord
from sentifuse.runtime.files import read_json, write_json

FILE = "encoding.json"


@dataclass(frozen=True)
class EncodingRecord:
    """All that decides the bits of a row.

    Attributes:
        version: `encoding.VERSION`: of text cleaning, decoding and batching.
        backbone: its name, as in `backbone.name`.
        revision: of the hub repository, or None.
        image_fingerprint: SHA-256 of the image encoder.
        text_fingerprint: SHA-256 of the text encoder.
        image_spec: how the image encoder wants its images.
        max_tokens: where a text is cut.
        views: V, views of each image, the plain one included.
        setting: split points, precision, device, batch sizes, how views are drawn.
        libraries: `versions` of the process that encoded; other versions may change the last digits.
    """

    __pydantic_config__ = params.STRICT
    version: int
    backbone: str
    revision: str | None
    image_fingerprint: str
    text_fingerprint: str
    image_spec: ImageSpec
    max_tokens: int
    views: int
    setting: Setting
    libraries: dict[str, str]

    def space(self, modality: Modality) -> SpaceRecord:
        """The space of the rows of one modality; its name differs whenever a row could differ."""
        setting, is_image = self.setting, modality == "image"
        parts: dict[str, object] = {
            "version": self.version,
            "torch": self.libraries["torch"],
            "transformers": self.libraries["transformers"],
            "tokens": setting.tokens,
            "hidden_dtype": setting.hidden_dtype,
            "encoder": self.image_fingerprint if is_image else self.text_fingerprint,
        }
        if setting.precision != "fp32":
            parts |= {"precision": setting.precision, "forward": encoding.LOW_PRECISION_VERSION}
        elif setting.device == "cpu":
            parts |= {"products": "oneDNN"}  # earlier ones, by MKL, have other last digits
        # These two are named only where they differ from what was once the only way: so the rows that
        # were encoded then stay valid.
        if setting.device != "cpu":
            parts |= {"device": setting.device}
        if setting.numerics != "native":
            parts |= {"numerics": setting.numerics}
        if is_image:
            parts |= {"split": setting.image_split, "batch": setting.image_batch}
            parts |= {"pillow": self.libraries["pillow"], "views": asdict(setting.views)}
        else:
            parts |= {"split": setting.text_split, "batch": setting.text_batch}
            parts |= {"text_version": encoding.TEXT_VERSION}
        return SpaceRecord(modality, self.backbone, self.revision, parts)


def of(
    backbone: Backbone, name: str, revision: str | None, setting: Setting, views: int
) -> EncodingRecord:
    """The record of rows that this process encodes; `views` counts the plain one."""
    return EncodingRecord(
        version=encoding.VERSION,
        backbone=name,
        revision=revision,
        image_fingerprint=backbone.image.fingerprint,
        text_fingerprint=backbone.text.fingerprint,
        image_spec=backbone.image.spec,
        max_tokens=backbone.text.max_tokens,
        views=views,
        setting=setting,
        libraries=versions(),
    )


def versions() -> dict[str, str]:
    """The versions of the libraries that a row's bits depend on."""
    import PIL
    import transformers

    return {
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
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


def parse(values: dict[str, Any], source: str) -> EncodingRecord:
    """Checks `values`; `source` stands in front of the message.

    Raises:
        UserError: a key is missing, unknown or of another type.
    """
    return params.parse(EncodingRecord, values, source)
