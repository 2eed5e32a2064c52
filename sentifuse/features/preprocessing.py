"""Manifest -> features: encode what the store lacks, then assemble."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch

from sentifuse.config.backbone import Modality
from sentifuse.data.manifest import Sample
from sentifuse.encoders.interface import AnyEncoder, Backbone
from sentifuse.features import assemble, encoding_record, fidelity, reading
from sentifuse.features.contents import item_key
from sentifuse.features.encoding import EncoderRecord, Item
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines.registry import Encode
from sentifuse.features.schema import TAIL, EncoderMeta, Meta
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store.space import Space, SpaceRecord
from sentifuse.runtime import precision
from sentifuse.runtime.files import sha256, write_bytes

# A damaged shard is found when it is read, and may hide another one.
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Items:
    """The items of one modality, made anew each time: held, each would take half a kilobyte.

    A sample that lacks the modality has no hash of it: its items have no key, and nothing is encoded.
    """

    samples: Iterable[Sample]
    modality: Modality
    views: int = 1

    def __iter__(self) -> Iterator[Item]:
        for sample in self.samples:
            content, path = sample.text_sha256, sample.text
            if self.modality == "image":
                content, path = sample.image_sha256, sample.image
            for view in range(self.views):
                yield Item(item_key(content, view) if content else "", path, view)


@dataclass(frozen=True)
class _TextItems:
    """The texts in the pictures of N samples, as items; one without text has no key."""

    samples: Iterable[Sample]
    texts: Sequence[str]

    def __iter__(self) -> Iterator[Item]:
        for sample, text in zip(self.samples, self.texts, strict=True):
            yield Item(sha256(text.encode()) if text else "", sample.image, 0, text)


def preprocess(
    samples: Iterable[Sample],
    backbone: Backbone,
    record: EncodingRecord,
    encode: Encode,
    store: Path,
    out: Path,
) -> dict[str, Any]:
    """Writes the features of `samples` to `out`.

    Args:
        samples: the manifest, N rows, gone through several times; one may lack a modality
            (`manifest.missing`), not all.
        backbone: the encoders in float32.
        record: how rows are encoded.
        encode: the engine that encodes what the store lacks.
        store: root of the feature store.
        out: `data/features`.

    Returns:
        `fidelity.report`: the precision of each encoder, and how close it comes to float32.

    Raises:
        UserError: a file that cannot be encoded.
    """
    setting = record.setting
    for each in record.encoders:
        print(f"{each.key}: {each.precision} ({setting.device})")
        precision.warn_if_slow("backbone.precision", each.precision, setting.device)
    meta = _meta(backbone, record)
    with store_lock.shared(store):
        texts = _encode_and_assemble(samples, meta, record, encode, store, out)
        cosines = {
            each.key: fidelity.least_cosine(
                backbone[each.key], record, each, _items(samples, each, texts), out, store
            )
            for each in record.encoders
        }
    encoding_record.write(record, out)
    for each in record.encoders:
        _write_tail(backbone[each.key], each.split, out / each.key / TAIL)
    return fidelity.report(record.encoders, cosines)


def _encode_and_assemble(
    samples: Iterable[Sample],
    meta: Meta,
    record: EncodingRecord,
    encode: Encode,
    store: Path,
    out: Path,
) -> Sequence[str]:
    """Gives the texts in the images of N samples; none if they are not read."""
    spaces = {each.key: _space(store, record.space(each)) for each in record.encoders}

    def attempt() -> Sequence[str]:
        texts = _texts_in_images(samples, record, encode, store)
        items = {each.key: _items(samples, each, texts, record.views) for each in record.encoders}
        for each in record.encoders:
            encode(each, record.setting, items[each.key], spaces[each.key])
        assemble.write(out, meta, (sample.guid for sample in samples), _stored(spaces, items))
        return texts

    for _ in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except assemble.DamagedRowsError as error:
            print(f"{error}; they are encoded again now", file=sys.stderr)
    return attempt()


def _texts_in_images(
    samples: Iterable[Sample], record: EncodingRecord, encode: Encode, store: Path
) -> Sequence[str]:
    """The text in the image of each of N samples, read if the store lacks it; none without a reader."""
    reader = record.reader
    if reader is None:
        return ()
    space, items = _space(store, record.reading_space(reader)), _Items(samples, "image")
    # It runs on the processor, also where encoders have a GPU.
    encode(reader, replace(record.setting, device="cpu"), items, space)
    texts = reading.texts(space, (item.key for item in items))
    print(f"text in {sum(map(bool, texts))} of {len(texts)} images")
    return texts


def _items(
    samples: Iterable[Sample], encoder: EncoderRecord, texts: Sequence[str], views: int = 1
) -> Iterable[Item]:
    """What `encoder` encodes; `texts` are those in the images."""
    if encoder.ocr:
        return _TextItems(samples, texts)
    return _Items(samples, encoder.modality, views if encoder.modality == "image" else 1)


def _stored(
    spaces: Mapping[str, Space], items: Mapping[str, Iterable[Item]]
) -> dict[str, assemble.StoredRows]:
    def keys(of: Iterable[Item]) -> Iterator[str]:
        return (item.key for item in of)

    return {key: assemble.StoredRows(space, keys(items[key])) for key, space in spaces.items()}


def _space(store: Path, described: SpaceRecord) -> Space:
    space = Space(store, described.name)
    space.touch(described)
    return space


def _meta(backbone: Backbone, record: EncodingRecord) -> Meta:
    return Meta(
        record.views,
        tuple(
            EncoderMeta(
                key=each.key,
                modality=each.modality,
                dim=backbone[each.key].embedding_dim,
                token_dim=backbone[each.key].token_dim,
                tail=dict(backbone[each.key].tail(each.split).config) if each.split else None,
                fingerprint=each.fingerprint,
            )
            for each in record.encoders
        ),
    )


def _write_tail(encoder: AnyEncoder, split: int, path: Path) -> None:
    if split:
        weights = encoder.tail(split).weights
        contiguous = {key: value.detach().contiguous() for key, value in weights.items()}
        write_bytes(path, safetensors.torch.save(contiguous))
