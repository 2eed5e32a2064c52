"""Small made-up features, for tests of everything behind the encoders."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sentifuse.encoders import tails
from sentifuse.features.batches import Dataset
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Arrays, EncoderMeta, Features, Meta
from sentifuse.models.classifier import ModelConfig

LABELS = ("negative", "neutral", "positive")
# The keys of both encoders.
IMAGE, TEXT = "image_net", "text_net"
IMAGE_DIM, TEXT_DIM, IMAGE_TOKEN_DIM, TEXT_TOKEN_DIM, IMAGE_TOKENS = 6, 4, 8, 8, 4

TEXT_TAIL: dict[str, Any] = {
    "kind": "transformer",
    "layers": 2,
    "dim": TEXT_TOKEN_DIM,
    "heads": 2,
    "mlp_dim": 16,
    "activation": "quick_gelu",
    "eps": 1e-5,
    "pre_norm": True,
    "causal": True,
    "pool": "last",
    "projection_dim": TEXT_DIM,
}
IMAGE_TAIL: dict[str, Any] = {
    **TEXT_TAIL,
    "dim": IMAGE_TOKEN_DIM,
    "causal": False,
    "pool": "first",
    "projection_dim": IMAGE_DIM,
}


IMAGE_META = EncoderMeta(IMAGE, "image", IMAGE_DIM, IMAGE_TOKEN_DIM, IMAGE_TAIL, "image print")
TEXT_META = EncoderMeta(TEXT, "text", TEXT_DIM, TEXT_TOKEN_DIM, TEXT_TAIL, "text print")


def encoders(*trainable: str) -> tuple[EncoderMeta, ...]:
    """What a model knows of both encoders; those with the keys `trainable` have their tails."""
    both = (IMAGE_META, TEXT_META)
    return tuple(each if each.key in trainable else replace(each, tail=None) for each in both)


def model_config(**changes: Any) -> ModelConfig:
    """The config of a small classifier for these features."""
    values: dict[str, Any] = {
        "labels": list(LABELS),
        "fusion": "concat",
        "input_mode": "multimodal",
        "hidden_dims": [8],
        "dropout": 0.0,
        "encoders": encoders(),
    }
    return ModelConfig(**{**values, **changes})


def tail_weights(config: dict[str, Any]) -> dict[str, Tensor]:
    """The "pre-trained" weights of a tail."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return tails.build(config).state_dict()


def make_features(
    targets: Sequence[int], *, noise: float, views: int = 1, seed: int = 0
) -> Features:
    """Features of one sample per target: a direction for its class plus normal noise.

    They have every kind of state; embeddings are what `TEXT_TAIL` and `IMAGE_TAIL` with
    `tail_weights` make of the hidden states.
    """
    rng = np.random.default_rng(seed)
    count = len(targets)

    def signal(*shape: int) -> np.ndarray:
        """(N, *shape), the same direction of a class along all but the last axis."""
        directions = np.eye(len(LABELS), shape[-1])[list(targets)]
        directions = directions.reshape(count, *(1,) * (len(shape) - 1), shape[-1])
        return (directions + noise * rng.standard_normal((count, *shape))).astype(np.float32)

    lengths = rng.integers(2, 9, size=count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    padded = signal(int(lengths.max()), TEXT_TOKEN_DIM)
    text_hidden = np.concatenate([row[:n] for row, n in zip(padded, lengths, strict=True)])
    image_hidden = signal(views, IMAGE_TOKENS, IMAGE_TOKEN_DIM)
    mask = torch.from_numpy(np.arange(padded.shape[1]) < lengths[:, None])
    text, text_tokens = _encode(TEXT_TAIL, torch.from_numpy(padded), mask)
    image, image_tokens = _encode(
        IMAGE_TAIL, torch.from_numpy(image_hidden.reshape(-1, IMAGE_TOKENS, IMAGE_TOKEN_DIM)), None
    )
    return Features(
        meta=Meta(views, encoders(IMAGE, TEXT)),
        guids=[str(index) for index in range(count)],
        arrays={
            IMAGE: Arrays(
                embeddings=image.reshape(count, views, IMAGE_DIM),
                tokens=image_tokens.reshape(count, views, IMAGE_TOKENS, IMAGE_TOKEN_DIM)[:, 0],
                hidden=image_hidden,
            ),
            TEXT: Arrays(
                embeddings=text[:, None],
                tokens=np.concatenate(
                    [row[:n] for row, n in zip(text_tokens, lengths, strict=True)]
                ),
                hidden=text_hidden,
                offsets=offsets,
            ),
        },
    )


def with_arrays(features: Features, **changes: Any) -> Features:
    """The same features with other arrays: `image=` and `text=` give what changes of each encoder."""
    arrays = dict(features.arrays)
    for key, name in ((IMAGE, "image"), (TEXT, "text")):
        arrays[key] = replace(arrays[key], **changes.get(name, {}))
    return replace(features, arrays=arrays)


def make_parts(
    train: int = 60, val: int = 30, *, noise: float = 0.2, views: int = 1, seed: int = 0
) -> Parts:
    """`train` and `val` samples, classes in turn; the other parts are empty."""
    targets = [index % len(LABELS) for index in range(train + val)]
    features = make_features(targets, noise=noise, views=views, seed=seed)

    def part(start: int, stop: int) -> Dataset:
        rows = np.arange(start, stop)
        return Dataset(
            features, rows, torch.tensor(targets[start:stop]), features.guids[start:stop]
        )

    empty = part(0, 0)
    return Parts(LABELS, part(0, train), part(train, train + val), empty, empty)


def _encode(
    config: dict[str, Any], hidden: Tensor, mask: Tensor | None
) -> tuple[np.ndarray, np.ndarray]:
    tail = tails.build(config).eval()
    tail.load_state_dict(tail_weights(config))
    with torch.no_grad():
        embedding, tokens = tail(hidden, mask, need_tokens=True)
    return embedding.numpy(), tokens.numpy()
