"""Manifest -> features: encode what the store lacks, then assemble."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch

from sentifuse.data.manifest import Sample
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone, Encoder
from sentifuse.errors import UserError
from sentifuse.features import assemble, encoding_record, fidelity
from sentifuse.features.encoding import Item, Modality, item_key
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines.registry import Encode
from sentifuse.features.schema import Meta
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store.space import Space
from sentifuse.runtime import precision
from sentifuse.runtime.files import write_bytes

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


def load(name: str, revision: str | None, expected: str | None) -> Backbone:
    """Loads the backbone in float32 and prints its fingerprint.

    Args:
        name: of the backbone, as in `registry.load`.
        revision: of the backbone.
        expected: its fingerprint; None for whatever there is.

    Raises:
        UserError: no such backbone, or not the expected one.
    """
    backbone = registry.load(name, revision)
    if expected is not None and backbone.fingerprint != expected:
        raise UserError(
            f"backbone.fingerprint: {expected}: the weights, config and vocabulary of {name!r} have "
            f"{backbone.fingerprint}: not the files that were expected"
        )
    print(f"backbone.fingerprint: {backbone.fingerprint}")
    return backbone


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
        record: how a row is encoded.
        encode: the engine that encodes what the store lacks.
        store: root of the feature store.
        out: `data/features`.

    Returns:
        `fidelity.report`: the precision, and how close it comes to float32.

    Raises:
        UserError: more layers to finetune than the backbone has, or a file that cannot be encoded.
    """
    setting = record.setting
    print(f"backbone.precision: {setting.precision} ({setting.device})")
    precision.warn_if_slow("backbone.precision", setting.precision, setting.device)
    _check_depth("unfreeze_text_layers", setting.text_split, backbone.text)
    _check_depth("unfreeze_vision_layers", setting.image_split, backbone.image)
    with store_lock.shared(store):
        _encode_and_assemble(samples, _meta(backbone, record), record, encode, store, out)
        cosines: dict[Modality, float] = {}
        for modality in ("image", "text"):
            plain = _Items(samples, modality)
            cosines[modality] = fidelity.least_cosine(backbone, record, modality, plain, out, store)
    encoding_record.write(record, out)
    _write_tail(backbone.image, setting.image_split, out / "image_tail.safetensors")
    _write_tail(backbone.text, setting.text_split, out / "text_tail.safetensors")
    return fidelity.report(setting.precision, cosines)


def _encode_and_assemble(
    samples: Iterable[Sample],
    meta: Meta,
    record: EncodingRecord,
    encode: Encode,
    store: Path,
    out: Path,
) -> None:
    images, texts = _Items(samples, "image", record.views), _Items(samples, "text")
    image_space, text_space = _space(store, record, "image"), _space(store, record, "text")
    for attempts_left in reversed(range(_ATTEMPTS)):
        encode(record, "image", images, image_space)
        encode(record, "text", texts, text_space)
        try:
            assemble.write(
                out,
                meta,
                (sample.guid for sample in samples),
                assemble.StoredRows(image_space, (item.key for item in images)),
                assemble.StoredRows(text_space, (item.key for item in texts)),
            )
            return
        except assemble.DamagedRowsError as error:
            if not attempts_left:
                raise
            print(f"{error}; they are encoded again now", file=sys.stderr)


def _space(store: Path, record: EncodingRecord, modality: Modality) -> Space:
    described = record.space(modality)
    space = Space(store, described.name)
    space.touch(described)
    return space


def _meta(backbone: Backbone, record: EncodingRecord) -> Meta:
    image, text = backbone.image, backbone.text
    return Meta(
        image_dim=image.embedding_dim,
        text_dim=text.embedding_dim,
        image_token_dim=image.token_dim,
        text_token_dim=text.token_dim,
        views=record.views,
        image_tail=_tail_config(image, record.setting.image_split),
        text_tail=_tail_config(text, record.setting.text_split),
        image_fingerprint=image.fingerprint,
        text_fingerprint=text.fingerprint,
    )


def _tail_config(encoder: Encoder, split: int) -> dict[str, Any] | None:
    return dict(encoder.tail(split).config) if split else None


def _write_tail(encoder: Encoder, split: int, path: Path) -> None:
    if split:
        weights = encoder.tail(split).weights
        contiguous = {key: value.detach().contiguous() for key, value in weights.items()}
        write_bytes(path, safetensors.torch.save(contiguous))


def _check_depth(key: str, split: int, encoder: Encoder) -> None:
    if split > encoder.layers:
        raise UserError(f"{key}: {split}: the encoder has {encoder.layers} layers")
    if split == encoder.layers:
        print(
            f"{key}: {split} is the whole encoder: stage 2 gains little from the cache and is slow"
        )
