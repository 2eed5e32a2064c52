"""The classifier: encoder tails (stage 2), layer norms, fusion, classification head."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sentifuse.config.recipe import ATTENDING
from sentifuse.encoders import tails
from sentifuse.errors import UserError
from sentifuse.features.batches import Batch, Needs, States
from sentifuse.features.schema import EncoderMeta
from sentifuse.models.fusion import FUSIONS, Dims, Tokens
from sentifuse.runtime.dropout import Dropout
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
        encoders: whose features the model reads; a tail makes an encoder trainable. Attention reads the
            tokens of the first of each modality.
        tail_dropout: dropout inside the tails while training, 0..1.
    """

    labels: Sequence[str]
    fusion: str
    input_mode: str
    hidden_dims: Sequence[int]
    dropout: float
    encoders: Sequence[EncoderMeta]
    tail_dropout: float = 0.0

    def of(self, modality: str) -> list[EncoderMeta]:
        """The encoders of one modality."""
        return [each for each in self.encoders if each.modality == modality]


class Classifier(nn.Module):
    """Late fusion of an image and a text embedding, and a head.

    The embedding of a modality is the concatenation of those of its encoders, each layer-normalised.
    """

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
        # An absent modality needs no encoder.
        self.tails = nn.ModuleDict(
            {
                each.key: tails.build(each.tail, dropout=config.tail_dropout)
                for each in config.encoders
                if each.tail is not None and each.modality not in self.absent
            }
        )
        widths = _widths(config, equal=fusion.equal_dims)
        self.projections = nn.ModuleDict(
            {
                each.key: Linear(each.dim, widths[each.key])
                for each in config.encoders
                if each.dim != widths[each.key]
            }
        )
        self.norms = nn.ModuleDict({key: nn.LayerNorm(width) for key, width in widths.items()})
        images, texts = config.of("image"), config.of("text")
        dims = Dims(
            image=sum(widths[each.key] for each in images),
            text=sum(widths[each.key] for each in texts),
            image_tokens=images[0].token_dim,
            text_tokens=texts[0].token_dim,
        )
        self.fusion = fusion(dims)
        self.head = _head(self.fusion.out_dim, config)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def needs_tokens(self) -> bool:
        """Whether the fusion reads token states."""
        return self.config.fusion in ATTENDING

    @property
    def needs(self) -> Needs:
        """What a batch has to hold for this model, beside the embeddings."""
        read = ("image", "text") if self.needs_tokens else ()
        tokens = frozenset(self.config.of(modality)[0].key for modality in read)
        return Needs(tokens, frozenset(self.tails))

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

        def each_way(modality: str) -> dict[bool, _Embedded]:
            # Whether the modality is absent -> its state: each of the two is worked out at most once.
            return {
                lacks: self._zeros(batch, modality) if lacks else self._embed(batch, modality)
                for lacks in {modality in each for each in gone}
            }

        images, texts = each_way("image"), each_way("text")
        logits = [self._decide(images["image" in each], texts["text" in each]) for each in gone]
        return torch.stack(logits)

    def _embed(self, batch: Batch, modality: str) -> "_Embedded":
        encoders = self.config.of(modality)
        found = [
            self._encode(each, batch[each.key], first=not n) for n, each in enumerate(encoders)
        ]
        embeddings = [self._norm(each, v) for each, (v, _) in zip(encoders, found, strict=True)]
        whole = embeddings[0] if len(embeddings) == 1 else torch.cat(embeddings, dim=-1)
        return _Embedded(whole, found[0][1], batch[encoders[0].key].mask)

    def _encode(
        self, encoder: EncoderMeta, states: States, first: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The embedding (B, D) of one encoder, before its norm, and the tokens (B, P or T, H)."""
        need_tokens = first and self.needs_tokens
        if encoder.key not in self.tails:
            return _mean(states.embedding), states.tokens
        tail, hidden = self.tails[encoder.key], states.hidden
        assert hidden is not None
        if encoder.modality == "text":
            embedding, tokens = tail(hidden, states.mask, need_tokens)
            return embedding, tokens
        of_views = (-1, hidden.shape[1])
        v, tokens = tail(hidden.flatten(0, 1), None, need_tokens)  # (B V', D), (B V', P, H)
        plain = None if tokens is None else tokens.unflatten(0, of_views)[:, 0]
        return _mean(v.unflatten(0, of_views)), plain

    def _norm(self, encoder: EncoderMeta, embedding: Tensor) -> Tensor:
        if encoder.key in self.projections:
            embedding = self.projections[encoder.key](embedding)
        normed: Tensor = self.norms[encoder.key](embedding)
        return normed

    def _zeros(self, batch: Batch, modality: str) -> "_Embedded":
        """The state of an absent modality: zeros, with a single token."""
        encoders = self.config.of(modality)
        norms = [cast(nn.LayerNorm, self.norms[each.key]) for each in encoders]
        weight, size = norms[0].weight, batch[encoders[0].key].embedding.shape[0]
        width = sum(len(norm.weight) for norm in norms)
        return _Embedded(
            weight.new_zeros(size, width),
            weight.new_zeros(size, 1, encoders[0].token_dim),
            torch.ones(size, 1, dtype=torch.bool, device=weight.device),
        )

    def _decide(self, image: "_Embedded", text: "_Embedded") -> Tensor:
        tokens = None
        if self.needs_tokens:
            if image.tokens is None or text.tokens is None or text.mask is None:
                raise UserError(
                    f"fusion: {self.config.fusion!r} needs token states: set backbone.tokens=true"
                )
            tokens = Tokens(image.tokens, text.tokens, text.mask)
        logits: Tensor = self.head(self.fusion(image.embedding, text.embedding, tokens))
        return logits


@dataclass(frozen=True)
class _Embedded:
    """A modality of B samples: the embedding (B, D), the tokens (B, P or T, H), and a text's mask (B, T)."""

    embedding: Tensor
    tokens: Tensor | None
    mask: Tensor | None


def _mean(views: Tensor) -> Tensor:
    """(B, V', D) -> (B, D)."""
    return views[:, 0] if views.shape[1] == 1 else views.mean(dim=1)  # one is not worth a pass


def _widths(config: ModelConfig, equal: bool) -> dict[str, int]:
    """The width of each encoder's part of v or t, by key.

    It is the embedding's own. Where a fusion wants v as wide as t (`equal`), each image encoder is projected
    to an equal share of that, the first ones to one more if it cannot be divided.
    """
    widths = {each.key: each.dim for each in config.encoders}
    images = config.of("image")
    whole = sum(each.dim for each in config.of("text"))
    if equal:
        for place, each in enumerate(images):
            widths[each.key] = whole // len(images) + (place < whole % len(images))
    return widths


def _head(in_dim: int, config: ModelConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in config.hidden_dims:
        layers += [Linear(in_dim, width), nn.ReLU(), Dropout(config.dropout)]
        in_dim = width
    return nn.Sequential(*layers, Linear(in_dim, len(config.labels)))
