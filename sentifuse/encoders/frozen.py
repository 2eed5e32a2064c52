"""Any other model of `transformers`, whole: it encodes, and cannot be finetuned here."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.encoders.families import FINETUNED
from sentifuse.encoders.interface import Encoded, TailSpec, fingerprint, widths
from sentifuse.encoders.pooling import pool
from sentifuse.encoders.tokenizing import Tokenizer
from sentifuse.errors import UserError

# A model and a batch -> its embedding (B, D) and its states (B, T or P, H).
Forward = Callable[[Any, Tensor], tuple[Tensor, Tensor]]


class FrozenEncoder:
    """A model without layers to finetune, in float32."""

    layers = 0
    lowers = False
    joint = False

    def __init__(self, model: Any, forward: Forward, described: str, device: str) -> None:
        """Takes a model, how it is applied, and what its output depends on besides the weights."""
        self._model, self._forward, self._kind = model.to(device), forward, model.config.model_type
        self.device = device
        self.fingerprint = fingerprint(described, model.state_dict())

    @property
    def parts(self) -> nn.ModuleList:
        """The modules that `compute` applies."""
        return nn.ModuleList([self._model])

    @torch.inference_mode()
    def encode(self, inputs: Tensor, split: int, tokens: bool) -> Encoded:
        """Pixels (B, 3, S, S) or token ids (B, T) without padding -> embedding and tokens."""
        return self.compute(inputs, split, tokens)

    def compute(self, inputs: Tensor, split: int, tokens: bool) -> Encoded:
        """As `encode`, in whatever mode torch is: for `torch.export`."""
        embedding, states = self._forward(self._model, inputs)
        return Encoded(embedding, states if tokens else None, None)

    def tail(self, split: int) -> TailSpec:
        """Raises a UserError: there is none."""
        raise UserError(
            f"a model of type {self._kind!r} cannot be finetuned here: expected one of {FINETUNED}"
        )


class FrozenImageEncoder(FrozenEncoder):
    """Images -> what the model pools, or the mean over its states where it does not pool."""

    def __init__(self, model: Any, spec: ImageSpec, described: str, device: str) -> None:
        """Takes a model of `AutoModel` that reads pixels, and what its config says."""
        super().__init__(model, _see, f"{described} {spec}", device)
        self.spec = spec
        self.embedding_dim, self.token_dim = widths(self, torch.zeros(1, 3, spec.crop, spec.crop))


class FrozenTextEncoder(FrozenEncoder):
    """Texts -> the states of the last layer, pooled as the model's folder says, else their mean."""

    def __init__(
        self, model: Any, tokenizer: Tokenizer, how: str, described: str, device: str
    ) -> None:
        """Takes a model of `AutoModel` that reads token ids.

        Args:
            model: the model.
            tokenizer: its tokenizer.
            how: as of `pooling`.
            described: what its config says.
            device: where it encodes.
        """

        def read(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            return pool(states, None, how), states

        super().__init__(model, read, f"{described} {how} {tokenizer.description}", device)
        self.spec, self.max_tokens, self.tokenize = tokenizer.spec, tokenizer.max_tokens, tokenizer
        self.embedding_dim, self.token_dim = widths(self, torch.tensor(tokenizer(["a"])))


def _see(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    out = model(pixel_values=pixels)
    states = out.last_hidden_state
    if states.dim() == 4:  # a map (B, H, rows, columns)
        states = states.flatten(2).transpose(1, 2)
    pooled = getattr(out, "pooler_output", None)
    return states.mean(dim=1) if pooled is None else pooled.flatten(1), states
