"""How the rows of `data/features/` were encoded, on record: enough to encode one more just so."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentifuse.config import params
from sentifuse.data.images import ImageSpec
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features import encoding
from sentifuse.features.encoding import Setting
from sentifuse.features.store import space_names
from sentifuse.runtime.files import write_json

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
        libraries: name -> version of the libraries that encoded; others may change the last digits.
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
        libraries=space_names.versions(),
    )


def write(record: EncodingRecord, folder: Path) -> None:
    """Writes `record` beside the features in `folder`."""
    write_json(folder / FILE, asdict(record))


def read(folder: Path) -> EncodingRecord:
    """Reads what `write` wrote.

    Raises:
        UserError: the file is missing, or of another version.
    """
    path = folder / FILE
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")), str(path))
    except (FileNotFoundError, json.JSONDecodeError):
        raise UserError(f"{path}: no such record: run `dvc repro preprocess`") from None


def parse(values: dict[str, Any], source: str) -> EncodingRecord:
    """Checks `values`; `source` stands in front of the message.

    Raises:
        UserError: a key is missing, unknown or of another type.
    """
    return params.parse(EncodingRecord, values, source)
