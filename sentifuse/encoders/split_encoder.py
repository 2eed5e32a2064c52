"""An encoder that is a stem and layers: it gives the embedding and the states at the split point."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import low_precision, tails
from sentifuse.encoders.interface import Encoded, TailSpec, fingerprint, widths
from sentifuse.encoders.tokenizing import Tokenizer


class SplitEncoder:
    """What all encoders that can be finetuned have in common.

    Attributes:
        embedding_dim, token_dim, layers, lowers, joint, device: as of `Encoder`.
    """

    joint = False

    def __init__(
        self,
        stem: nn.Module,
        embed: Callable[[Any, Tensor], Tensor],
        body: nn.Module,
        config: Mapping[str, Any],
        *,
        described: str,
        precision: str,
        device: str,
    ) -> None:
        """Takes over the parts of a model, in float32.

        Args:
            stem: what makes inputs into the states that enter the first layer.
            embed: applies `stem` to inputs.
            body: the layers and what follows them: a module of `tails.build`.
            config: of `body`, as of a `TailSpec`.
            described: what decides on the output besides the weights and `config`.
            precision: `fp32`, `bf16` or `fp16`, that it encodes in.
            device: where it encodes.
        """
        self._config, self._embed = config, embed
        self._described = f"{described} {json.dumps(config, sort_keys=True)}"
        self._stem: nn.Module
        self._body: Any
        self._exact_stem, self._exact = stem.requires_grad_(False).eval(), body
        self.lowers = config["kind"] == "transformer"
        if precision == "fp32" or not self.lowers:
            self._stem, self._body = stem.to(device), body.to(device)
        else:
            self._stem = low_precision.lowered(stem, precision).to(device)
            self._body = low_precision.lowered(body, precision).to(device)
        self.layers: int = config["layers"]
        self.device = device

    @cached_property
    def fingerprint(self) -> str:
        weights = {f"stem.{name}": value for name, value in self._exact_stem.state_dict().items()}
        weights |= {f"body.{name}": value for name, value in self._exact.state_dict().items()}
        return fingerprint(self._described, weights)

    @property
    def parts(self) -> nn.ModuleList:
        """The modules that `compute` applies."""
        return nn.ModuleList([self._stem, self._body])

    @torch.inference_mode()
    def encode(self, inputs: Tensor, split: int, tokens: bool) -> Encoded:
        """Pixels (B, 3, S, S) or token ids (B, T) without padding -> what `Encoded` says."""
        return self.compute(inputs, split, tokens)

    def compute(self, inputs: Tensor, split: int, tokens: bool) -> Encoded:
        """As `encode`, in whatever mode torch is: for `torch.export`."""
        embedded = self._embed(self._stem, inputs)
        start = self.layers - split if split else 0
        hidden = self._body.lower(embedded, start) if start else embedded
        embedding, states = self._body(hidden, None, tokens, start=start)
        return Encoded(embedding, states, hidden if split else None)

    def tail(self, split: int) -> TailSpec:
        """The last `split` layers (1..`layers`), with what follows them up to the embedding."""
        config, first = {**self._config, "layers": split}, self.layers - split
        found: dict[str, Tensor] = {}
        for name, value in self._exact.state_dict().items():
            part, _, rest = name.partition(".")
            if part != "layers":
                found[name] = value
                continue
            index, _, rest = rest.partition(".")
            found[f"layers.{int(index) - first}.{rest}"] = value
        with torch.device("meta"):
            wanted = tails.build(config).state_dict()
        return TailSpec(config, {name: found[name] for name in wanted})


class SplitImageEncoder(SplitEncoder):
    """A `SplitEncoder` of images."""

    def __init__(self, spec: ImageSpec, *parts: Any, described: str, **options: Any) -> None:
        """Takes the `spec` of its images, and what `SplitEncoder` takes."""
        super().__init__(*parts, described=f"{described} {spec}", **options)
        self.spec = spec
        self.embedding_dim, self.token_dim = widths(self, torch.zeros(1, 3, spec.crop, spec.crop))


class SplitTextEncoder(SplitEncoder):
    """A `SplitEncoder` of texts."""

    def __init__(self, tokenizer: Tokenizer, *parts: Any, described: str, **options: Any) -> None:
        """Takes its tokenizer, and what `SplitEncoder` takes."""
        super().__init__(*parts, described=f"{described} {tokenizer.description}", **options)
        self.spec, self.max_tokens = tokenizer.spec, tokenizer.max_tokens
        self.tokenize = tokenizer
        self.embedding_dim, self.token_dim = widths(self, torch.tensor(tokenizer(["a"])))
