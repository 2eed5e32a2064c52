"""The interface of all encoders, whatever model is behind it.

Shape letters, here and everywhere: N samples, B batch, V views of an image, D embedding, H hidden,
T text tokens, P image tokens, C classes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec


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
class TransformerConfig:
    """How the last layers of a transformer are built.

    Attributes:
        layers: how many.
        dim: width H of the hidden states.
        heads: attention heads; they divide `dim`.
        mlp_dim: inner width of the MLP.
        activation: a key of `sentifuse.models.tails.ACTIVATIONS`.
        eps: of the layer norms.
        pre_norm: CLIP norms before attention and MLP and once at the end, BERT after each.
        causal: a token sees only itself and those before it.
        pool: the state that becomes the embedding: `first`, `last` real token, or the `mean` over the
            real tokens.
        projection_dim: width of the projected embedding; None for no projection.
    """

    layers: int
    dim: int
    heads: int
    mlp_dim: int
    activation: str
    eps: float
    pre_norm: bool
    causal: bool
    pool: str
    projection_dim: int | None


@dataclass(frozen=True)
class TailSpec:
    """The last layers of an encoder: how to build them (`config`) and their weights.

    `config["kind"]` is `transformer`, and the rest are the fields of a `TransformerConfig`; or it is
    `efficientnet-lite0`, and the rest are the arguments of `sentifuse.models.tails.EfficientNetTail`.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]


def transformer_tail(
    config: TransformerConfig,
    layers: Sequence[nn.Module],
    names: Mapping[str, str],
    behind: Mapping[str, nn.Module],
) -> TailSpec:
    """The tail of a transformer of another library.

    Args:
        config: of the tail.
        layers: the encoder's last ones, as many as `config` says.
        names: a module of `sentifuse.models.tails.TransformerLayer` -> the same one in each of `layers`.
        behind: `norm` and `projection`, where the encoder has them.
    """
    parts = dict(behind)
    for index, layer in enumerate(layers):
        for ours, theirs in names.items():
            parts[f"layers.{index}.{ours}"] = layer.get_submodule(theirs)
    return TailSpec({"kind": "transformer", **asdict(config)}, named_weights(parts))


def named_weights(parts: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights and buffers of all `parts`, each with the name of its part in front."""
    return {
        f"{name}.{key}": value
        for name, module in parts.items()
        for key, value in module.state_dict().items()
    }


class Encoder(Protocol):
    """One modality's encoder: frozen, in eval mode.

    Its outputs are float32 whatever precision it computes in, and its fingerprint is that of the float32
    weights. Its inputs must be on its `device`, a name for `torch.device`.
    """

    embedding_dim: int
    token_dim: int
    layers: int
    device: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and of everything else that decides on the output."""
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
