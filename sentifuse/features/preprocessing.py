"""Manifest -> features: encode what the store lacks, then assemble."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from sentifuse.data.manifest import Sample
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone, Encoder
from sentifuse.errors import UserError
from sentifuse.features import assemble, encoding_record, fidelity
from sentifuse.features.encoding import Item, Modality, Setting, item_key
from sentifuse.features.engines.registry import Encode
from sentifuse.features.schema import Meta
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store import space_record
from sentifuse.features.store.space import Space
from sentifuse.features.store.space_names import name_of, space_parts, versions
from sentifuse.features.store.space_record import SpaceRecord
from sentifuse.runtime import precision
from sentifuse.runtime.files import write_bytes

# A damaged shard is found when it is read, and may hide another.
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Items:
    """The items of samples, made anew each time: held, each would take half a kilobyte."""

    samples: Iterable[Sample]
    of: Callable[[Sample], list[Item]]

    def __iter__(self) -> Iterator[Item]:
        for sample in self.samples:
            yield from self.of(sample)


def preprocess(
    samples: Iterable[Sample],
    *,
    name: str,
    revision: str | None,
    expected: str | None,
    setting: Setting,
    views: int,
    store: Path,
    out: Path,
    encode: Encode,
) -> dict[str, Any]:
    """Writes the features of `samples` to `out`.

    Args:
        samples: the manifest, N rows, gone through several times; one may lack a modality
            (`manifest.missing`), not all.
        name: of the backbone.
        revision: of the backbone.
        expected: its fingerprint; None for whatever there is.
        setting: what a row holds.
        views: random views of each image, beside the plain one.
        store: root of the feature store.
        out: `data/features`.
        encode: the engine that encodes what the store lacks.

    Returns:
        `fidelity.report`: the precision, and how close it comes to float32.

    Raises:
        UserError: no such backbone, or not the expected one; more layers to finetune than it has; a file
            that cannot be encoded.
    """
    backbone = registry.load(name, revision)
    if expected is not None and backbone.fingerprint != expected:
        raise UserError(
            f"backbone.fingerprint: {expected}: the weights, config and vocabulary of {name!r} have "
            f"{backbone.fingerprint}: not the files that were expected"
        )
    print(f"backbone.fingerprint: {backbone.fingerprint}")
    print(f"backbone.precision: {setting.precision} ({setting.device})")
    precision.warn_if_slow("backbone.precision", setting.precision, setting.device)
    _check_depth("unfreeze_text_layers", setting.text_split, backbone.text)
    _check_depth("unfreeze_vision_layers", setting.image_split, backbone.image)

    def images_of(sample: Sample) -> list[Item]:
        return [
            Item(_key(sample.image_sha256, view), sample.image, view) for view in range(views + 1)
        ]

    def texts_of(sample: Sample) -> list[Item]:
        return [Item(sample.text_sha256, sample.text, 0)]

    meta = _meta(backbone, setting, views + 1)
    with store_lock.shared(store):
        images = _space(store, "image", backbone.image, name, revision, setting)
        texts = _space(store, "text", backbone.text, name, revision, setting)
        for attempts_left in reversed(range(_ATTEMPTS)):
            encode(name, revision, setting, "image", _Items(samples, images_of), images)
            encode(name, revision, setting, "text", _Items(samples, texts_of), texts)
            try:
                assemble.write(
                    out,
                    meta,
                    (sample.guid for sample in samples),
                    images,
                    ([item.key for item in images_of(sample)] for sample in samples),
                    texts,
                    (sample.text_sha256 for sample in samples),
                )
                break
            except assemble.DamagedRowsError as error:
                if not attempts_left:
                    raise
                print(f"{error}; they are encoded again now", file=sys.stderr)
        cosines: dict[Modality, float] = {
            "image": fidelity.least_cosine(
                backbone, setting, "image", map(_plain_image, samples), out, store
            ),
            "text": fidelity.least_cosine(
                backbone, setting, "text", map(_text, samples), out, store
            ),
        }
    encoding_record.write(encoding_record.of(backbone, name, revision, setting, views + 1), out)
    for modality, encoder, split in (
        ("image", backbone.image, setting.image_split),
        ("text", backbone.text, setting.text_split),
    ):
        if split:
            _save_weights(encoder.tail(split).weights, out / f"{modality}_tail.safetensors")
    return fidelity.report(setting.precision, cosines)


def _plain_image(sample: Sample) -> tuple[str, str]:
    return sample.image_sha256, sample.image


def _text(sample: Sample) -> tuple[str, str]:
    return sample.text_sha256, sample.text


def _key(content: str, view: int) -> str:
    # A sample that lacks a modality has no hash of it: no key, nothing to encode, zeros for features.
    return item_key(content, view) if content else ""


def _space(
    store: Path,
    modality: Modality,
    encoder: Encoder,
    name: str,
    revision: str | None,
    setting: Setting,
) -> Space:
    parts = space_parts(modality, encoder.fingerprint, setting, versions())
    space = Space(store, name_of(modality, parts))
    space_record.touch(space, SpaceRecord(modality, name, revision, parts))
    return space


def _meta(backbone: Backbone, setting: Setting, views: int) -> Meta:
    image, text = backbone.image, backbone.text
    return Meta(
        image_dim=image.embedding_dim,
        text_dim=text.embedding_dim,
        image_token_dim=image.token_dim,
        text_token_dim=text.token_dim,
        views=views,
        image_tail=dict(image.tail(setting.image_split).config) if setting.image_split else None,
        text_tail=dict(text.tail(setting.text_split).config) if setting.text_split else None,
        image_fingerprint=image.fingerprint,
        text_fingerprint=text.fingerprint,
    )


def _check_depth(key: str, split: int, encoder: Encoder) -> None:
    if split > encoder.layers:
        raise UserError(f"{key}: {split}: the encoder has {encoder.layers} layers")
    if split == encoder.layers:
        print(
            f"{key}: {split} is the whole encoder: stage 2 gains little from the cache and is slow"
        )


def _save_weights(weights: dict[str, Tensor], path: Path) -> None:
    contiguous = {key: value.detach().contiguous() for key, value in weights.items()}
    write_bytes(path, safetensors.torch.save(contiguous))
