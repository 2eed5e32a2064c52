"""The last layers of an encoder, trainable, run from the split point on.

A tail is built from the small config and the weights that `preprocess` stores beside the features: a
training stage loads no encoder. Given the hidden states that enter its first layer, a tail computes just what
the whole encoder would; the tests compare both.

All tails are called alike, see `Transformer.forward`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from sentifuse.encoders import loading
from sentifuse.encoders.transformer import Transformer
from sentifuse.encoders.transformer_layer import TransformerConfig


def build(config: Mapping[str, Any], dropout: float = 0.0) -> nn.Module:
    """Builds the tail that `config`, of a `TailSpec`, describes, with random weights.

    Args:
        config: its `kind` says which class it is, the rest are the arguments.
        dropout: inside the layers of a transformer, while training, 0 <= x < 1. Convolutional networks have
            none.

    Raises:
        UserError: an activation that is not known.
    """
    values = {key: value for key, value in config.items() if key != "kind"}
    match config["kind"]:
        case "transformer":
            return Transformer(TransformerConfig(**values), dropout)
        case "deberta":
            from sentifuse.encoders.deberta import Deberta

            return Deberta(**values, dropout=dropout)
        case "convnext":
            from sentifuse.encoders.convnext import ConvNext

            return ConvNext(**values)
        case "efficientnet":
            from sentifuse.encoders.efficientnet import EfficientNetBody

            return EfficientNetBody(**values)
        case kind:
            raise ValueError(f"no tail is called {kind!r}")


def check_weights(tail: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Checks that `weights` are all that `tail` has; `source` stands in front of the message.

    Raises:
        UserError: one is missing, unexpected or of another shape.
    """
    loading.check(tail, weights, source, "run `dvc repro preprocess` again")
