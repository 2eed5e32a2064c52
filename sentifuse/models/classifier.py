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
        image_dim: width of the image embeddings.
        text_dim: width of the text embeddings.
        image_token_dim: width of the image tokens.
        text_token_dim: width of the text tokens.
        image_tail: config of the trainable image tail, or None while the encoder is frozen.
        text_tail: config of the trainable text tail, or None while the encoder is frozen.
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
        # An absent modality needs no encoder.
        self.absent = INPUT_MODES[config.input_mode]
        self.image_tail = _tail(None if "image" in self.absent else config.image_tail, config)
        self.text_tail = _tail(None if "text" in self.absent else config.text_tail, config)
        image_dim = config.text_dim if fusion.equal_dims else config.image_dim
        self.image_proj = (
            nn.Identity() if image_dim == config.image_dim else Linear(config.image_dim, image_dim)
        )
        self.image_norm = nn.LayerNorm(image_dim)
        self.text_norm = nn.LayerNorm(config.text_dim)
        self.fusion = fusion(
            Dims(image_dim, config.text_dim, config.image_token_dim, config.text_token_dim)
        )
        self.head = _head(
            self.fusion.out_dim, config.hidden_dims, len(config.labels), config.dropout
        )

    @property
    def needs_tokens(self) -> bool:
        """Whether the fusion reads token states."""
        return self.config.fusion in ATTENDING

    @property
    def needs(self) -> Needs:
        """What a batch has to hold for this model, beside the embeddings."""
        return Needs(self.needs_tokens, self.text_tail is not None, self.image_tail is not None)

    def forward(self, batch: Batch, absent: Collection[str] = ()) -> Tensor:
        """Classifies the batch.

        Args:
            batch: B samples.
            absent: the modalities to do without, of `image` and `text`, beside those that the input
                mode leaves out. An absent modality is zeros after its layer norm, and so are its tokens.

        Returns:
            Logits (B, C).
        """
        [logits] = self._logits(batch, [absent])
        return logits

    def without(self, batch: Batch, absences: Sequence[Collection[str]]) -> Tensor:
        """What `forward` gives for each of A sets of absent modalities; each encoder runs once for all.

        Returns:
            Logits (A, B, C).
        """
        return torch.stack(self._logits(batch, absences))

    def _logits(self, batch: Batch, absences: Sequence[Collection[str]]) -> list[Tensor]:
        gone = [self.absent.union(absent) for absent in absences]
        # Whether the modality is absent -> its state: each of the two is worked out at most once.
        images = {lacks: self._normed_image(batch, lacks) for lacks in {"image" in g for g in gone}}
        texts = {lacks: self._normed_text(batch, lacks) for lacks in {"text" in g for g in gone}}
        return [self._decide(images["image" in each], texts["text" in each]) for each in gone]

    def _normed_image(self, batch: Batch, absent: bool) -> tuple[Tensor, Tensor | None]:
        """The layer-normalised embedding (B, D) and the tokens (B, P, H)."""
        if absent:
            return self._zeros(len(batch.text), self.image_norm, self.config.image_token_dim)
        v, tokens = self._image(batch)
        return self.image_norm(self.image_proj(v)), tokens

    def _normed_text(
        self, batch: Batch, absent: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The layer-normalised embedding (B, D), the tokens (B, T, H) and their mask (B, T)."""
        if absent:
            t, tokens = self._zeros(len(batch.text), self.text_norm, self.config.text_token_dim)
            return t, tokens, torch.ones(len(t), 1, dtype=torch.bool, device=t.device)
        t, text_tokens = self._text(batch)
        return self.text_norm(t), text_tokens, batch.text_mask

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

    def _zeros(self, size: int, norm: nn.LayerNorm, token_dim: int) -> tuple[Tensor, Tensor | None]:
        """The embedding (B, D) and a single token (B, 1, H) of an absent modality."""
        weight = norm.weight
        return weight.new_zeros(size, len(weight)), weight.new_zeros(size, 1, token_dim)

    def _image(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        if self.image_tail is None:
            return _mean_of_views(batch.image), batch.image_tokens
        assert batch.image_hidden is not None
        views = batch.image_hidden.shape[1]
        flat = batch.image_hidden.flatten(0, 1)  # (B V', P, H)
        embeddings, tokens = self.image_tail(flat, None, self.needs_tokens)
        if tokens is not None:
            tokens = tokens.unflatten(0, (-1, views))[:, 0]
        return _mean_of_views(embeddings.unflatten(0, (-1, views))), tokens

    def _text(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        if self.text_tail is None:
            return batch.text, batch.text_tokens
        embedding, tokens = self.text_tail(batch.text_hidden, batch.text_mask, self.needs_tokens)
        return embedding, tokens


def _mean_of_views(images: Tensor) -> Tensor:
    """(B, V', D) -> (B, D); the mean of one is not worth a pass."""
    return images[:, 0] if images.shape[1] == 1 else images.mean(dim=1)


def _tail(config: dict[str, Any] | None, model: ModelConfig) -> nn.Module | None:
    return None if config is None else tails.build(config, dropout=model.tail_dropout)


def _head(in_dim: int, hidden_dims: Sequence[int], classes: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden_dims:
        layers += [Linear(in_dim, width), nn.ReLU(), Dropout(dropout)]
        in_dim = width
    return nn.Sequential(*layers, Linear(in_dim, classes))
