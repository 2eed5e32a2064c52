"""A model of `transformers` -> a `Transformer` with the same weights, as its entry in `families` says."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sentifuse.encoders.families import Family
from sentifuse.encoders.interface import named_weights
from sentifuse.encoders.transformer import Transformer
from sentifuse.encoders.transformer_layer import TransformerConfig
from sentifuse.errors import UserError

# The largest DINOv2 has a gated MLP.
_SWIGLU = {"fc1": "mlp.up_proj", "gate": "mlp.gate_proj", "fc2": "mlp.down_proj"}


def body(family: Family, model: Any, pool: str, dense: nn.Linear | None, tanh: bool) -> Transformer:
    """Takes the layers out of `model`, and what follows them, as a `Transformer` with the same weights.

    Args:
        family: of the model.
        model: in float32; its layers are gone afterwards.
        pool: how token states become the embedding.
        dense: a layer that follows pooling, of a sentence-transformers folder; None for none.
        tanh: whether a hyperbolic tangent follows `dense`.

    Raises:
        UserError: an activation that is not known, or layers that are built in another way.
    """
    layers = model.get_submodule(family.layers)
    config = _config(family, model, pool)
    behind = {ours: model.get_submodule(theirs) for ours, theirs in family.behind.items()}
    if dense is not None:
        behind["projection"] = dense
    projection = behind.get("projection")
    if projection is not None:
        config = replace(
            config,
            projection_dim=projection.out_features,
            projection_bias=projection.bias is not None,
            projection_tanh=tanh,
        )
    parts = dict(behind)
    for index, layer in enumerate(layers):
        for ours, theirs in _names(family, model.config).items():
            parts[f"layers.{index}.{ours}"] = layer.get_submodule(theirs)
    with torch.device("meta"):  # no weights are drawn: those of the model are taken over
        taken = Transformer(config)
    taken.load_state_dict(named_weights(parts), assign=True)
    parent, _, name = family.layers.rpartition(".")
    setattr(model.get_submodule(parent), name, nn.ModuleList())
    return taken.requires_grad_(False).eval()


def _config(family: Family, model: Any, pool: str) -> TransformerConfig:
    config, layers = model.config, model.get_submodule(family.layers)
    names = _names(family, config)
    part = {ours: layers[0].get_submodule(theirs) for ours, theirs in names.items()}
    if part["q_proj"].out_features != part["q_proj"].in_features:
        raise UserError(
            f"backbone: config.json: attention of width {part['q_proj'].out_features} in layers of width "
            f"{part['q_proj'].in_features}: expected the same width"
        )
    gated = "gate" in part
    activation = "silu" if gated else getattr(config, "hidden_act", None) or config.activation
    bias = family.behind.get("position_bias")
    return TransformerConfig(
        layers=len(layers),
        dim=part["fc1"].in_features,
        heads=config.num_attention_heads,
        mlp_dim=part["fc1"].out_features,
        activation=activation,
        eps=part["norm1"].eps,
        pre_norm=family.pre_norm,
        causal=family.causal,
        pool=pool,
        projection_dim=None,
        qkv_bias=part["q_proj"].bias is not None,
        gated_mlp=gated,
        layer_scale="scale1" in part,
        position_buckets=model.get_submodule(bias).num_embeddings if bias else 0,
    )


def _names(family: Family, config: Any) -> Mapping[str, str]:
    return {**family.names, **_SWIGLU} if getattr(config, "use_swiglu_ffn", False) else family.names
