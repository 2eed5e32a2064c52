"""Contents in memory -> features; each row is what `preprocess` makes of the same bytes in a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sentifuse.encoders.interface import Backbone
from sentifuse.features.encoding import Item, Modality, encode_shard, item_key
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.schema import Array, Features, Meta
from sentifuse.features.store.space import EncodedRow
from sentifuse.runtime.files import sha256


@dataclass(frozen=True)
class Source:
    """Bytes of an image file or of a text, and what messages call them."""

    name: str
    raw: bytes


def encode(
    backbone: Backbone,
    record: EncodingRecord,
    meta: Meta,
    samples: Sequence[Mapping[Modality, Source]],
) -> Features:
    """Encodes N samples that have the same modalities; one that they lack is zeros.

    Args:
        backbone: the encoders.
        record: how rows are encoded.
        meta: widths, and how many views of each image are wanted.
        samples: N times modality -> content.

    Raises:
        UserError: an image cannot be decoded.
    """
    images = [sample["image"] for sample in samples if "image" in sample]
    texts = [sample["text"] for sample in samples if "text" in sample]
    count = len(samples)
    return Features(
        meta=meta,
        guids=[str(place) for place in range(count)],
        **(_images(backbone, record, images, meta.views) if images else _no_images(count, meta)),
        **(_texts(backbone, record, texts) if texts else _no_texts(count, meta)),
    )


def _images(
    backbone: Backbone, record: EncodingRecord, sources: Sequence[Source], views: int
) -> dict[str, Array]:
    rows = _rows(backbone, record, "image", sources, views)
    arrays = {"image_embeddings": np.stack([_stack(each, "embedding")[:, 0] for each in rows])}
    if "tokens" in rows[0][0]:
        arrays["image_tokens"] = _stack([each[0] for each in rows], "tokens")
    if "hidden" in rows[0][0]:
        arrays["image_hidden"] = np.stack([_stack(each, "hidden") for each in rows])
    return arrays


def _no_images(count: int, meta: Meta) -> dict[str, Array]:
    return {
        "image_embeddings": np.zeros((count, 1, meta.image_dim), np.float32),
        "image_tokens": np.zeros((count, 1, meta.image_token_dim), np.float32),
        "image_hidden": np.zeros((count, 1, 1, meta.image_token_dim), np.float32),
    }


def _texts(
    backbone: Backbone, record: EncodingRecord, sources: Sequence[Source]
) -> dict[str, Array]:
    rows = [row for (row,) in _rows(backbone, record, "text", sources, 1)]
    arrays = {"text_embeddings": np.concatenate([row["embedding"] for row in rows])}
    lengths = [0]
    for name in {"tokens", "hidden"} & set(rows[0]):
        arrays[f"text_{name}"] = np.concatenate([row[name] for row in rows])
        lengths = [0, *(len(row[name]) for row in rows)]
    return {**arrays, "text_offsets": np.cumsum(lengths)}


def _no_texts(count: int, meta: Meta) -> dict[str, Array]:
    tokens = np.zeros((count, meta.text_token_dim), np.float32)
    return {
        "text_embeddings": np.zeros((count, meta.text_dim), np.float32),
        "text_tokens": tokens,
        "text_hidden": tokens,
        "text_offsets": np.arange(count + 1),
    }


def _rows(
    backbone: Backbone,
    record: EncodingRecord,
    modality: Modality,
    sources: Sequence[Source],
    views: int,
) -> list[list[EncodedRow]]:
    """The rows of every view of each source; contents that are the same are encoded once."""
    keys = [[item_key(sha256(source.raw), view) for view in range(views)] for source in sources]
    raw: dict[str, bytes] = {}
    items: list[Item] = []
    for source, own in zip(sources, keys, strict=True):
        if own[0] not in raw:
            items += [Item(key, source.name, view) for view, key in enumerate(own)]
        raw |= dict.fromkeys(own, source.raw)
    rows = encode_shard(backbone, record.setting, modality, items, lambda item: raw[item.key])
    return [[rows[key] for key in own] for own in keys]


def _stack(rows: Sequence[EncodedRow], name: str) -> Array:
    return np.stack([row[name] for row in rows])
