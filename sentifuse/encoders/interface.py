"""The interface of all encoders, whatever model is behind it.

Shape letters, here and everywhere: N samples, B batch, V views of an image, D embedding, H hidden,
T text tokens, P image tokens, C classes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.data.text import TextSpec


@dataclass(frozen=True)
class Encoded:
    """The output of an encoder for one batch.

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

    `config["kind"]` is a name of `sentifuse.encoders.tails.build`, and the rest are the arguments of what it
    builds. `config["layers"]` is how many layers the tail has.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]


def named_weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights and buffers of all `parts`, each with the name of its part in front."""
    return {
        f"{name}.{key}": value
        for name, module in parts.items()
        for key, value in module.state_dict().items()
    }


class Encoder(Protocol):
    """An encoder of images or texts: frozen, in eval mode.

    Its outputs are float32 whatever precision it computes in, and its fingerprint is that of the float32
    weights. Its inputs must be on its `device`, a name for `torch.device`.

    Attributes:
        embedding_dim: width D of the embedding.
        token_dim: width H of tokens and hidden states.
        layers: how many layers can be finetuned; 0 for a model without a tail.
        lowers: whether it can compute in `bf16` and `fp16`, too.
        joint: whether its embeddings are like those of the other modality's encoder of the same model.
        device: where it computes.
    """

    embedding_dim: int
    token_dim: int
    layers: int
    lowers: bool
    joint: bool
    device: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and of everything else that decides on the output."""
        ...

    @property
    def parts(self) -> nn.ModuleList:
        """The modules that `compute` applies."""
        ...

    def compute(self, inputs: Tensor, split: int, tokens: bool) -> Encoded:
        """As `encode`, in whatever mode torch is: for `torch.export`."""
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

    spec: TextSpec
    max_tokens: int

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        """Cleans texts as `spec` says; ids with the special tokens, cut at `max_tokens`; never empty."""
        ...

    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        """Encodes (B, T) int64 rows of one length, so that there is no padding."""
        ...


AnyEncoder = ImageEncoder | TextEncoder
# The encoders of a run by their keys (`registry.keys`), those of images first.
Backbone = Mapping[str, AnyEncoder]


def widths(encoder: Any, inputs: Tensor) -> tuple[int, int]:
    """Widths D of the embedding and H of the tokens, from what one input of an encoder gives."""
    found = encoder.encode(inputs.to(encoder.device), 0, tokens=True)
    return found.embedding.shape[-1], found.tokens.shape[-1]


def fingerprint_of(backbone: Backbone) -> str:
    """SHA-256 of the fingerprints of all encoders."""
    prints = " ".join(encoder.fingerprint for encoder in backbone.values())
    return hashlib.sha256(prints.encode()).hexdigest()


def fingerprint(description: str, weights: Mapping[str, Tensor]) -> str:
    """SHA-256 over `description` and every named tensor: names, dtypes, shapes and values."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
