"""Made-up features of two encoders of each modality: those of `synthetic`, and another one beside each."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentifuse.encoders import tails
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Array, Arrays, EncoderMeta, Features
from tests.synthetic import (
    IMAGE,
    IMAGE_META,
    IMAGE_TAIL,
    TEXT,
    TEXT_META,
    TEXT_TAIL,
    make_parts,
    tail_weights,
)

OTHER_IMAGE, OTHER_TEXT = "image_other-net", "text_other-net"
# No width and no number of layers is that of another encoder; 3 + 4 cannot be divided by two.
_DIMS, _TOKEN_DIMS = {OTHER_IMAGE: 5, OTHER_TEXT: 3}, {OTHER_IMAGE: 12, OTHER_TEXT: 10}
_OTHER_TAILS: dict[str, dict[str, Any]] = {
    OTHER_IMAGE: {**IMAGE_TAIL, "layers": 1},
    OTHER_TEXT: {**TEXT_TAIL, "layers": 3, "causal": False, "pool": "mean"},
}
TAILS: dict[str, dict[str, Any]] = {
    IMAGE: IMAGE_TAIL,
    TEXT: TEXT_TAIL,
    **{
        key: {**tail, "dim": _TOKEN_DIMS[key], "projection_dim": _DIMS[key]}
        for key, tail in _OTHER_TAILS.items()
    },
}
WEIGHTS = {key: tail_weights(tail) for key, tail in TAILS.items()}
KEYS = (IMAGE, OTHER_IMAGE, TEXT, OTHER_TEXT)


def _other(beside: EncoderMeta, key: str) -> EncoderMeta:
    return replace(beside, key=key, dim=_DIMS[key], token_dim=_TOKEN_DIMS[key], tail=TAILS[key])


METAS = (IMAGE_META, _other(IMAGE_META, OTHER_IMAGE), TEXT_META, _other(TEXT_META, OTHER_TEXT))


def encoders(*trainable: str) -> tuple[EncoderMeta, ...]:
    """What a model knows of the four encoders; those with the keys `trainable` have their tails."""
    return tuple(each if each.key in trainable else replace(each, tail=None) for each in METAS)


def make_several(train: int = 60, val: int = 30, **options: Any) -> Parts:
    """What `make_parts` gives, with the other two encoders beside.

    Their hidden states are a fixed linear map of the first ones', each twice in a row, so that they have
    other numbers of tokens. Their embeddings and tokens are what their tails with `WEIGHTS` make of them.
    """
    parts = make_parts(train, val, **options)
    features = _with_others(parts.train.features)
    data = {name: getattr(parts, name) for name in ("train", "val", "test", "predict")}
    return replace(parts, **{name: replace(each, features=features) for name, each in data.items()})


def _with_others(features: Features) -> Features:
    image, text = features.arrays[IMAGE], features.arrays[TEXT]
    assert image.hidden is not None
    assert text.hidden is not None
    assert text.offsets is not None
    patches = _mapped(image.hidden, OTHER_IMAGE)  # (N, V, P, H)
    count, views = patches.shape[:2]
    flat, tokens = _encode(OTHER_IMAGE, patches.reshape(-1, *patches.shape[2:]))
    words, offsets = _mapped(text.hidden, OTHER_TEXT), 2 * text.offsets
    rows = [_encode(OTHER_TEXT, words[None, start:stop]) for start, stop in pairwise(offsets)]
    arrays = {
        IMAGE: image,
        OTHER_IMAGE: Arrays(
            embeddings=flat.reshape(count, views, -1),
            tokens=tokens.reshape(count, views, *tokens.shape[1:])[:, 0],
            hidden=patches,
        ),
        TEXT: text,
        OTHER_TEXT: Arrays(
            embeddings=np.stack([embedding for embedding, _ in rows]),
            tokens=np.concatenate([states[0] for _, states in rows]),
            hidden=words,
            offsets=offsets,
        ),
    }
    return replace(features, meta=replace(features.meta, encoders=METAS), arrays=arrays)


def _mapped(hidden: Array, key: str) -> Array:
    """(..., T, H) -> (..., 2 T, the width of the encoder with that key)."""
    weight = np.random.default_rng(5).standard_normal((hidden.shape[-1], _TOKEN_DIMS[key]))
    mapped: Array = np.repeat(hidden @ weight, 2, axis=-2).astype(np.float32)
    return mapped


def _encode(key: str, hidden: Array) -> tuple[Array, Array]:
    tail = tails.build(TAILS[key]).eval()
    tail.load_state_dict(WEIGHTS[key])
    with torch.no_grad():
        found: tuple[Tensor, Tensor] = tail(torch.from_numpy(hidden), None, need_tokens=True)
    return found[0].numpy(), found[1].numpy()
