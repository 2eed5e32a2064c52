"""The text in pictures: it is read once into the store, and then encoded like any other text."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sentifuse.config.backbone import Modality
from sentifuse.encoders import ocr
from sentifuse.encoders.ocr import Reader
from sentifuse.features import assemble
from sentifuse.features.encoding import EncoderRecord, Item, decode, from_disk
from sentifuse.features.key_table import KeyTable
from sentifuse.features.store.space import EncodedRow, Space


@dataclass(frozen=True)
class ReaderRecord:
    """What reads the text in pictures; an engine does its work as it does an encoder's.

    Attributes:
        fingerprint: SHA-256 of the reader.
    """

    fingerprint: str

    @property
    def modality(self) -> Modality:
        """What it reads."""
        return "image"

    @property
    def name(self) -> str:
        """The name of the reader."""
        return ocr.NAME

    @property
    def task(self) -> str:
        """What it does, for progress bars."""
        return "read text in images"


# What an engine does.
AnyRecord = EncoderRecord | ReaderRecord


def read_shard(
    reader: Reader, items: Sequence[Item], read: Callable[[Item], bytes] = from_disk
) -> dict[str, EncodedRow]:
    """Reads the text in the pictures `items`.

    Returns:
        Key -> `text` (number of bytes,) uint8, in UTF-8.

    Raises:
        UserError: a file cannot be decoded.
    """
    rows: dict[str, EncodedRow] = {}
    for item in items:
        raw = reader.read(decode(read, item)).encode()
        rows[item.key] = {"text": np.frombuffer(raw, dtype=np.uint8)}
    return rows


def text_of(row: EncodedRow) -> str:
    """The text of a row of `read_shard`."""
    return row["text"].tobytes().decode()


def texts(space: Space, keys: Iterable[str]) -> list[str]:
    """The texts of N pictures, in the order of their keys; an empty key has no text.

    Raises:
        DamagedRowsError: a row is missing, because a shard was damaged after it was written.
    """
    table = KeyTable(keys)
    found = [""] * table.length
    for places, row in assemble.all_rows(space, table):
        text = text_of(row)
        for place in places.tolist():
            found[place] = text
    return found
