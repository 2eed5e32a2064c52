"""What the pipeline asks of an encoder, whatever model is behind it.

Shape letters, here and everywhere: N samples, B batch, V views of an image, D embedding, H hidden,
T text tokens, P image tokens, C classes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sentifuse.data.images import ImageSpec


@dataclass(frozen=True)
class Encoded:
    """What an encoder makes of a batch.

    Attributes:
        embedding: (B, D), what the model's own contrastive or retrieval loss was trained on, before
            any normalisation.
        tokens: (B, T or P, H), the states after the last layer; None if not asked for.
        hidden: (B, T or P, H), the states that enter the last `split` layers; None for `split` 0.
    """

    embedding: Tensor
    tokens: Tensor | None
    hidden: Tensor | None


@dataclass(frozen=True)
class TailSpec:
    """The last layers of an encoder: how to build them (`config`) and their weights.

    `config["kind"]` is a key of `sentifuse.models.tails.TAILS`; the rest are that class's arguments.
    """

    config: dict[str, str | int | float | bool | None]
    weights: dict[str, Tensor]


class Encoder(Protocol):
    """One modality's encoder: frozen, in eval mode.

    Whatever precision it computes in, all that it gives is float32, and its weights' fingerprint is that
    of the float32 ones. It encodes what is on its `device`, a name for `torch.device`.
    """

    embedding_dim: int
    token_dim: int
    layers: int
    device: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and of all else that decides what comes out."""
        ...

    def tail(self, split: int) -> TailSpec:
        """The last `split` layers (1..`layers`), with what follows them up to the embedding."""
        ...


class ImageEncoder(Encoder, Protocol):
    """Images -> embeddings."""

    spec: ImageSpec

    def encode(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        """Encodes (B, 3, S, S) float32, normalised with `spec.mean` and `spec.std`."""
        ...


class TextEncoder(Encoder, Protocol):
    """Texts -> embeddings."""

    max_tokens: int

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Token ids with the special tokens, cut at `max_tokens`; never empty."""
        ...

    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        """Encodes (B, T) int64 rows of one length, so that there is no padding."""
        ...


@dataclass(frozen=True)
class Backbone:
    """A pair of encoders, and their name in `backbone.name`."""

    image: ImageEncoder
    text: TextEncoder
    name: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of both encoders' fingerprints."""
        return hashlib.sha256(
            f"{self.image.fingerprint} {self.text.fingerprint}".encode()
        ).hexdigest()


def fingerprint(description: str, weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over `description` and every named tensor: names, dtypes, shapes and values."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
