"""The classifier: encoder tails (stage 2), layer norms, fusion, classification head."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.config.recipe import ATTENDING
from sentifuse.errors import UserError
from sentifuse.features.batches import Batch, Needs
from sentifuse.models import tails
from sentifuse.models.dropout import Dropout
from sentifuse.models.fusion import FUSIONS, Dims, Tokens
from sentifuse.runtime.linear import Linear

# `input_mode` -> the modalities that such a model never reads.
INPUT_MODES: dict[str, frozenset[str]] = {
    "multimodal": frozenset(),
    "text_only": frozenset({"image"}),
    "image_only": frozenset({"text"}),
}


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build the model; stored beside its weights.

    Attributes:
        labels: class names in the order of the logits, C.
        fusion: a key of `FUSIONS`.
        input_mode: a key of `INPUT_MODES`.
        hidden_dims: widths of the head's hidden layers.
        dropout: in the head, 0..1.
        image_dim, text_dim: widths of the embeddings.
        image_token_dim, text_token_dim: widths of the tokens.
        image_tail, text_tail: configs of the trainable tails; None while an encoder is frozen.
        tail_dropout: dropout inside the tails while training, 0..1.
    """

    labels: Sequence[str]
    fusion: str
    input_mode: str
    hidden_dims: Sequence[int]
    dropout: float
    image_dim: int
    text_dim: int
    image_token_dim: int
    text_token_dim: int
    image_tail: dict[str, Any] | None = None
    text_tail: dict[str, Any] | None = None
    tail_dropout: float = 0.0


class Classifier(nn.Module):
    """Late fusion of an image and a text embedding, and a head."""

    def __init__(self, config: ModelConfig) -> None:
        """Builds the model with random weights.

        Raises:
            UserError: a fusion that is not known, or that needs both modalities in a unimodal mode.
        """
        super().__init__()
        self.config = config
        if config.fusion not in FUSIONS:
            raise UserError(f"fusion: {config.fusion!r}: not one of {', '.join(FUSIONS)}")
        fusion = FUSIONS[config.fusion]
        if self.needs_tokens and config.input_mode != "multimodal":
            raise UserError(
                f"input_mode: {config.input_mode!r}: fusion {config.fusion!r} attends from one modality "
                "to the other and needs input_mode 'multimodal'"
            )
        self.absent = INPUT_MODES[config.input_mode]
        self.image_tail = self._tail("image", config.image_tail)
        self.text_tail = self._tail("text", config.text_tail)
        image_dim = config.text_dim if fusion.equal_dims else config.image_dim
        self.image_proj = (
            nn.Identity() if image_dim == config.image_dim else Linear(config.image_dim, image_dim)
        )
        self.image_norm = nn.LayerNorm(image_dim)
        self.text_norm = nn.LayerNorm(config.text_dim)
        dims = Dims(image_dim, config.text_dim, config.image_token_dim, config.text_token_dim)
        self.fusion = fusion(dims)
        self.head = _head(self.fusion.out_dim, config)

    def _tail(self, modality: str, tail: dict[str, Any] | None) -> nn.Module | None:
        # An absent modality needs no encoder.
        if tail is None or modality in self.absent:
            return None
        return tails.build(tail, dropout=self.config.tail_dropout)

    @property
    def needs_tokens(self) -> bool:
        """Whether the fusion reads token states."""
        return self.config.fusion in ATTENDING

    @property
    def needs(self) -> Needs:
        """What a batch has to hold for this model, beside the embeddings."""
        return Needs(self.needs_tokens, self.text_tail is not None, self.image_tail is not None)

    def forward(self, batch: Batch, absent: Collection[str] = ()) -> Tensor:
        """Classifies B samples.

        Args:
            batch: the samples.
            absent: the modalities to do without, of `image` and `text`, beside those that the input
                mode leaves out. An absent modality is zeros after its layer norm, and so are its tokens.

        Returns:
            Logits (B, C).
        """
        return self.without(batch, [absent])[0]

    def without(self, batch: Batch, absences: Sequence[Collection[str]]) -> Tensor:
        """What `forward` gives for each of A sets of absent modalities; each encoder runs once for all.

        Returns:
            Logits (A, B, C).
        """
        gone = [self.absent.union(absent) for absent in absences]
        # Whether the modality is absent -> its state: each of the two is worked out at most once.
        images = {lacks: self._image(batch, lacks) for lacks in {"image" in g for g in gone}}
        texts = {lacks: self._text(batch, lacks) for lacks in {"text" in g for g in gone}}
        logits = [self._decide(images["image" in each], texts["text" in each]) for each in gone]
        return torch.stack(logits)

    def _image(self, batch: Batch, absent: bool) -> tuple[Tensor, Tensor | None]:
        """The layer-normalised embedding (B, D) and the tokens (B, P, H)."""
        if absent:
            return self._zeros(len(batch.text), self.image_norm, self.config.image_token_dim)
        v, tokens = batch.image, batch.image_tokens  # (B, V', D), (B, P, H)
        if self.image_tail is not None:
            assert batch.image_hidden is not None
            of_views = (-1, batch.image_hidden.shape[1])
            flat = batch.image_hidden.flatten(0, 1)  # (B V', P, H)
            v, tokens = self.image_tail(flat, None, self.needs_tokens)
            v = v.unflatten(0, of_views)
            tokens = None if tokens is None else tokens.unflatten(0, of_views)[:, 0]
        v = v[:, 0] if v.shape[1] == 1 else v.mean(dim=1)  # the mean of one is not worth a pass
        return self.image_norm(self.image_proj(v)), tokens

    def _text(self, batch: Batch, absent: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The layer-normalised embedding (B, D), the tokens (B, T, H) and their mask (B, T)."""
        if absent:
            t, tokens = self._zeros(len(batch.text), self.text_norm, self.config.text_token_dim)
            return t, tokens, torch.ones(len(t), 1, dtype=torch.bool, device=t.device)
        t, text_tokens = batch.text, batch.text_tokens
        if self.text_tail is not None:
            t, text_tokens = self.text_tail(batch.text_hidden, batch.text_mask, self.needs_tokens)
        return self.text_norm(t), text_tokens, batch.text_mask

    def _zeros(self, size: int, norm: nn.LayerNorm, token_dim: int) -> tuple[Tensor, Tensor | None]:
        """The embedding (B, D) and a single token (B, 1, H) of an absent modality."""
        weight = norm.weight
        return weight.new_zeros(size, len(weight)), weight.new_zeros(size, 1, token_dim)

    def _decide(
        self,
        image: tuple[Tensor, Tensor | None],
        text: tuple[Tensor, Tensor | None, Tensor | None],
    ) -> Tensor:
        (v, image_tokens), (t, text_tokens, text_mask), tokens = image, text, None
        if self.needs_tokens:
            if image_tokens is None or text_tokens is None or text_mask is None:
                raise UserError(
                    f"fusion: {self.config.fusion!r} needs token states: set backbone.tokens=true"
                )
            tokens = Tokens(image_tokens, text_tokens, text_mask)
        logits: Tensor = self.head(self.fusion(v, t, tokens))
        return logits


def _head(in_dim: int, config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in config.hidden_dims:
        layers += [Linear(in_dim, width), nn.ReLU(), Dropout(config.dropout)]
        in_dim = width
    return nn.Sequential(*layers, Linear(in_dim, len(config.labels)))
