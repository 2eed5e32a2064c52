"""Contents in memory -> features, row for row what `preprocess` makes of the same bytes in files."""

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
    count = len(samples)
    arrays: dict[str, Array] = {}
    if "image" in samples[0]:
        rows = _rows(backbone, record, "image", [s["image"] for s in samples], meta.views)
        arrays["image_embeddings"] = np.stack([_stack(views, "embedding")[:, 0] for views in rows])
        if "tokens" in rows[0][0]:
            arrays["image_tokens"] = _stack([views[0] for views in rows], "tokens")
        if "hidden" in rows[0][0]:
            arrays["image_hidden"] = np.stack([_stack(views, "hidden") for views in rows])
    else:
        arrays["image_embeddings"] = np.zeros((count, 1, meta.image_dim), np.float32)
        arrays["image_tokens"] = np.zeros((count, 1, meta.image_token_dim), np.float32)
        arrays["image_hidden"] = np.zeros((count, 1, 1, meta.image_token_dim), np.float32)
    if "text" in samples[0]:
        rows = _rows(backbone, record, "text", [s["text"] for s in samples], 1)
        plain = [row for (row,) in rows]
        arrays["text_embeddings"] = np.concatenate([row["embedding"] for row in plain])
        lengths = [0]
        for name in {"tokens", "hidden"} & set(plain[0]):
            arrays[f"text_{name}"] = np.concatenate([row[name] for row in plain])
            lengths = [0, *(len(row[name]) for row in plain)]
        arrays["text_offsets"] = np.cumsum(lengths)
    else:
        arrays["text_embeddings"] = np.zeros((count, meta.text_dim), np.float32)
        arrays["text_tokens"] = np.zeros((count, meta.text_token_dim), np.float32)
        arrays["text_hidden"] = arrays["text_tokens"]
        arrays["text_offsets"] = np.arange(count + 1)
    return Features(
        meta=meta,
        guids=[str(place) for place in range(count)],
        image_embeddings=arrays["image_embeddings"],
        text_embeddings=arrays["text_embeddings"],
        text_offsets=arrays.get("text_offsets"),
        text_tokens=arrays.get("text_tokens"),
        image_tokens=arrays.get("image_tokens"),
        text_hidden=arrays.get("text_hidden"),
        image_hidden=arrays.get("image_hidden"),
    )


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
