"""Manifest -> features: encode what the store lacks, then assemble."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
from torch import Tensor

from sentifuse import assemble, encoding_record, fidelity, precision
from sentifuse.backbones import registry
from sentifuse.backbones.interface import Backbone, Encoder
from sentifuse.encoding import Item, Modality, Setting, item_key, space_name
from sentifuse.engines.registry import Encode
from sentifuse.errors import UserError
from sentifuse.features import Meta
from sentifuse.files import write_bytes
from sentifuse.store import Space

# A damaged shard is found when it is read, and may hide another.
_ATTEMPTS = 3


def preprocess(
    samples: pd.DataFrame,
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
        samples: the manifest, N rows; one may lack a modality (`manifest.missing`), not all.
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
    precision.warn_if_slow(setting.precision, setting.device)
    _check_depth("unfreeze_text_layers", setting.text_split, backbone.text)
    _check_depth("unfreeze_vision_layers", setting.image_split, backbone.image)

    images = Space(store, space_name("image", backbone, setting))
    texts = Space(store, space_name("text", backbone, setting))
    # A sample that lacks a modality has no hash of it: no key, nothing to encode, zeros for features.
    image_keys = [
        [item_key(content, view) if content else "" for view in range(views + 1)]
        for content in samples["image_sha256"]
    ]
    text_keys = list(samples["text_sha256"])

    image_items = {
        key: Item(key, path, view)
        for keys, path in zip(image_keys, samples["image"], strict=True)
        for view, key in enumerate(keys)
        if key
    }
    text_items = {
        key: Item(key, path, 0) for key, path in zip(text_keys, samples["text"], strict=True) if key
    }
    meta = _meta(backbone, setting, views + 1)
    guids = list(samples["guid"])
    for attempts_left in reversed(range(_ATTEMPTS)):
        encode(name, revision, setting, "image", list(image_items.values()), images)
        encode(name, revision, setting, "text", list(text_items.values()), texts)
        try:
            assemble.write(out, meta, guids, images, image_keys, texts, text_keys)
            break
        except assemble.DamagedRowsError as error:
            if not attempts_left:
                raise
            print(f"{error}; they are encoded again now", file=sys.stderr)
    encoding_record.write(encoding_record.of(backbone, name, revision, setting, views + 1), out)
    for modality, encoder, split in (
        ("image", backbone.image, setting.image_split),
        ("text", backbone.text, setting.text_split),
    ):
        if split:
            _save_weights(encoder.tail(split).weights, out / f"{modality}_tail.safetensors")
    plain_keys = [keys[0] for keys in image_keys]
    cosines: dict[Modality, float] = {
        "image": fidelity.least_cosine(
            backbone, setting, "image", plain_keys, samples["image"], out, store
        ),
        "text": fidelity.least_cosine(
            backbone, setting, "text", text_keys, samples["text"], out, store
        ),
    }
    return fidelity.report(setting.precision, cosines)


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
