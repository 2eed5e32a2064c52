"""Contents in memory -> features; each row is what `preprocess` makes of the same bytes in a file."""

from collections.abc import Mapping, Sequence

import numpy as np

from sentifuse.config.backbone import Modality
from sentifuse.encoders.interface import AnyEncoder, Backbone
from sentifuse.encoders.ocr import Reader
from sentifuse.features.contents import Source, item_key
from sentifuse.features.encoding import EncoderRecord, Item, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.reading import read_shard, text_of
from sentifuse.features.schema import Array, Arrays, EncoderMeta, Features, Meta
from sentifuse.features.store.space import EncodedRow
from sentifuse.runtime.files import sha256


def encode(
    backbone: Backbone,
    record: EncodingRecord,
    meta: Meta,
    samples: Sequence[Mapping[Modality, Source]],
    reader: Reader | None = None,
) -> Features:
    """Encodes N samples that have the same modalities; one that they lack is zeros.

    Args:
        backbone: the encoders.
        record: how rows are encoded.
        meta: widths, and how many views of each image are wanted.
        samples: N times modality -> content.
        reader: of the text in images, if `record` has such a source. Nothing is read where there is no text
            beside the image: the model does without all texts then.

    Raises:
        UserError: an image cannot be decoded.
    """
    arrays = {}
    for encoder in meta.encoders:
        sources = [sample[encoder.modality] for sample in samples if encoder.modality in sample]
        if not sources:
            arrays[encoder.key] = _absent(encoder, len(samples))
            continue
        if record.of(encoder.key).ocr:
            assert reader is not None
            texts = _read(reader, samples)
            arrays[encoder.key] = _in_images(backbone[encoder.key], record, encoder, texts)
            continue
        views = meta.views if encoder.modality == "image" else 1
        rows = _rows(backbone[encoder.key], record, record.of(encoder.key), sources, views)
        arrays[encoder.key] = _images(rows) if encoder.modality == "image" else _texts(rows)
    return Features(meta, [str(place) for place in range(len(samples))], arrays)


def _images(rows: Sequence[Sequence[EncodedRow]]) -> Arrays:
    first = rows[0][0]
    return Arrays(
        embeddings=np.stack([_stack(each, "embedding")[:, 0] for each in rows]),
        tokens=_stack([each[0] for each in rows], "tokens") if "tokens" in first else None,
        hidden=np.stack([_stack(each, "hidden") for each in rows]) if "hidden" in first else None,
    )


def _texts(rows: Sequence[Sequence[EncodedRow]]) -> Arrays:
    plain = [row for (row,) in rows]
    states: dict[str, Array] = {}
    lengths = [0]
    for name in {"tokens", "hidden"} & set(plain[0]):
        states[name] = np.concatenate([row[name] for row in plain])
        lengths = [0, *(len(row[name]) for row in plain)]
    return Arrays(_stack(plain, "embedding"), **states, offsets=np.cumsum(lengths))


def _read(reader: Reader, samples: Sequence[Mapping[Modality, Source]]) -> list[Source]:
    """The text in the image of each sample; empty where there is no image."""
    images = [sample.get("image") for sample in samples]
    keys = [_keys(image, 1)[0] if image else "" for image in images]
    raw = {key: image for key, image in zip(keys, images, strict=True) if image}
    items = [Item(key, image.name, 0, covered=image.covered) for key, image in raw.items()]
    rows = read_shard(reader, items, lambda item: raw[item.key].raw)
    return [
        Source(image.name, text_of(rows[key]).encode()) if image else Source("", b"")
        for key, image in zip(keys, images, strict=True)
    ]


def _in_images(
    text_encoder: AnyEncoder, record: EncodingRecord, encoder: EncoderMeta, texts: Sequence[Source]
) -> Arrays:
    """Encodes the texts in N images; one without text is zeros."""
    found = _absent(encoder, len(texts))
    places = [place for place, text in enumerate(texts) if text.raw]
    if places:
        own = record.of(encoder.key)
        rows = _rows(text_encoder, record, own, [texts[place] for place in places], 1)
        found.embeddings[places] = _texts(rows).embeddings
    return found


def _absent(encoder: EncoderMeta, count: int) -> Arrays:
    """What stands for inputs that are not there: the model does not read it."""
    embeddings = np.zeros((count, 1, encoder.dim), np.float32)
    if encoder.modality == "image":
        tokens = np.zeros((count, 1, encoder.token_dim), np.float32)
        return Arrays(embeddings, tokens, tokens[:, None])
    tokens = np.zeros((count, encoder.token_dim), np.float32)
    return Arrays(embeddings, tokens, tokens, np.arange(count + 1))


def _rows(
    encoder: AnyEncoder,
    record: EncodingRecord,
    own: EncoderRecord,
    sources: Sequence[Source],
    views: int,
) -> list[list[EncodedRow]]:
    """The rows of every view of each source; contents that are the same are encoded once."""
    keys = [_keys(source, views) for source in sources]
    raw: dict[str, bytes] = {}
    items: list[Item] = []
    for source, views_of in zip(sources, keys, strict=True):
        if views_of[0] not in raw:
            items += [
                Item(key, source.name, view, covered=source.covered)
                for view, key in enumerate(views_of)
            ]
        raw |= dict.fromkeys(views_of, source.raw)
    rows = encode_shard(encoder, own, record.setting, items, lambda item: raw[item.key])
    return [[rows[key] for key in own] for own in keys]


def _keys(source: Source, views: int) -> list[str]:
    content = sha256(source.raw)
    hidden = f" {source.covered}" if source.covered else ""
    return [item_key(content, view) + hidden for view in range(views)]


def _stack(rows: Sequence[EncodedRow], name: str) -> Array:
    return np.stack([row[name] for row in rows])
