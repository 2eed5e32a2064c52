"""The transformer families that can be finetuned at the split point: how each is laid out in `transformers`.

One entry of `FAMILIES` says all that is particular to a family. `docs/encoders.md` shows how to add one, and
the tests run each against the whole model of `transformers`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# A module of a `TransformerLayer` -> the same one in a layer of `transformers`.
_BERT = {
    "q_proj": "attention.self.query",
    "k_proj": "attention.self.key",
    "v_proj": "attention.self.value",
    "out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "norm2": "output.LayerNorm",
}
_MPNET = {
    **_BERT,
    "q_proj": "attention.attn.q",
    "k_proj": "attention.attn.k",
    "v_proj": "attention.attn.v",
    "out_proj": "attention.attn.o",
    "norm1": "attention.LayerNorm",
}
_DISTILBERT = {
    "q_proj": "attention.q_lin",
    "k_proj": "attention.k_lin",
    "v_proj": "attention.v_lin",
    "out_proj": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "fc1": "ffn.lin1",
    "fc2": "ffn.lin2",
    "norm2": "output_layer_norm",
}
_CLIP = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "out_proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm2": "layer_norm2",
}
_VIT = {
    "q_proj": "attention.q_proj",
    "k_proj": "attention.k_proj",
    "v_proj": "attention.v_proj",
    "out_proj": "attention.o_proj",
    "norm1": "layernorm_before",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm2": "layernorm_after",
}
_DINO = {
    **_VIT,
    "norm1": "norm1",
    "norm2": "norm2",
    "scale1": "layer_scale1",
    "scale2": "layer_scale2",
}


def _embed(model: Any, inputs: Tensor) -> Tensor:
    embedded: Tensor = model.embeddings(inputs)
    return embedded


def _embed_electra(model: Any, ids: Tensor) -> Tensor:
    embedded = _embed(model, ids)
    # Small models have narrow embeddings.
    return model.embeddings_project(embedded) if hasattr(model, "embeddings_project") else embedded


def _embed_clip_text(model: Any, ids: Tensor) -> Tensor:
    return _embed(model.text_model, ids)


def _embed_clip_image(model: Any, pixels: Tensor) -> Tensor:
    tower = model.vision_model
    embedded: Tensor = tower.pre_layrnorm(tower.embeddings(pixels))
    return embedded


def _embed_siglip2_image(model: Any, pixels: Tensor) -> Tensor:
    # This model takes patches, row by row, each with its channels last, of pictures of any proportions.
    size = model.config.patch_size
    rows = pixels.unfold(2, size, size).unfold(3, size, size)  # (B, 3, rows, columns, size, size)
    patches = rows.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)  # (B, P, size * size * 3)
    own = model.embeddings
    known = own.position_embedding.weight.reshape(*[own.position_embedding_size] * 2, -1)
    # What `own` itself does, but it works the positions out once for each picture.
    shape = torch.tensor([list(rows.shape[2:4])], device=pixels.device)
    positions = own.resize_positional_embeddings(known, shape, max_length=patches.shape[1])
    embedded: Tensor = own.patch_embedding(patches) + positions
    return embedded


@dataclass(frozen=True)
class Family:
    """How a family of transformers is laid out in its model of `transformers`.

    Attributes:
        model: the class that holds the encoder and nothing above it.
        layers: where its layers are.
        names: a module of a `TransformerLayer` -> the same one in each of these layers.
        pre_norm: as of `TransformerConfig`.
        pool: the same; of a text encoder whose folder has no pooling file of sentence-transformers.
        behind: a module of `Transformer` that follows the layers (`norm`, `projection`, `head`,
            `position_bias`) -> where it is in the model.
        causal: as of `TransformerConfig`.
        embed: the model without its layers, and token ids (B, T) or pixels (B, 3, S, S) -> what enters the
            first layer, (B, T or P, H).
        reserved: positions that texts cannot use: RoBERTa's first token has number 2.
        pads: whether texts were padded to full length in training, padding being seen as text is.
        lower: whether texts were lower-cased in training, whatever the tokenizer does.
        joint: whether images and texts were trained to have like embeddings.
    """

    model: str
    layers: str
    names: Mapping[str, str]
    pre_norm: bool
    pool: str
    behind: Mapping[str, str] = field(default_factory=dict)
    causal: bool = False
    embed: Callable[[Any, Tensor], Tensor] = _embed
    reserved: int = 0
    pads: bool = False
    lower: bool = False
    joint: bool = False


_CLIP_TEXT = Family(
    "CLIPTextModelWithProjection",
    "text_model.encoder.layers",
    _CLIP,
    pre_norm=True,
    pool="last",
    behind={"norm": "text_model.final_layer_norm", "projection": "text_projection"},
    causal=True,
    embed=_embed_clip_text,
    lower=True,
    joint=True,
)
_CLIP_IMAGE = Family(
    "CLIPVisionModelWithProjection",
    "vision_model.encoder.layers",
    _CLIP,
    pre_norm=True,
    pool="first",
    behind={"norm": "vision_model.post_layernorm", "projection": "visual_projection"},
    embed=_embed_clip_image,
    joint=True,
)


def _siglip_text(model: str) -> Family:
    behind = {"norm": "final_layer_norm", "projection": "head"}
    return Family(
        model,
        "encoder.layers",
        _CLIP,
        True,
        "last",
        behind=behind,
        pads=True,
        lower=True,
        joint=True,
    )


def _siglip_image(model: str, embed: Callable[[Any, Tensor], Tensor]) -> Family:
    behind = {"norm": "post_layernorm", "head": "head"}
    return Family(
        model, "encoder.layers", _CLIP, True, "attention", behind=behind, embed=embed, joint=True
    )


def _vit(model: str, layers: str, names: Mapping[str, str]) -> Family:
    return Family(model, layers, names, True, "first", {"norm": "layernorm"})


def _bert(model: str, reserved: int = 0) -> Family:
    return Family(model, "encoder.layer", _BERT, False, "mean", reserved=reserved)


# Modality -> `model_type` in config.json -> family.
FAMILIES: dict[str, dict[str, Family]] = {
    "image": {
        "clip": _CLIP_IMAGE,
        "clip_vision_model": _CLIP_IMAGE,
        "siglip": _siglip_image("SiglipVisionModel", _embed),
        "siglip_vision_model": _siglip_image("SiglipVisionModel", _embed),
        "siglip2": _siglip_image("Siglip2VisionModel", _embed_siglip2_image),
        "siglip2_vision_model": _siglip_image("Siglip2VisionModel", _embed_siglip2_image),
        "vit": _vit("ViTModel", "layers", _VIT),
        "deit": _vit("DeiTModel", "layers", _VIT),
        "dinov2": _vit("Dinov2Model", "encoder.layer", _DINO),
        "dinov2_with_registers": _vit("Dinov2WithRegistersModel", "encoder.layer", _DINO),
    },
    "text": {
        "clip": _CLIP_TEXT,
        "clip_text_model": _CLIP_TEXT,
        "siglip": _siglip_text("SiglipTextModel"),
        "siglip_text_model": _siglip_text("SiglipTextModel"),
        "siglip2": _siglip_text("Siglip2TextModel"),
        "siglip2_text_model": _siglip_text("Siglip2TextModel"),
        "bert": _bert("BertModel"),
        "roberta": _bert("RobertaModel", reserved=2),
        "xlm-roberta": _bert("XLMRobertaModel", reserved=2),
        "camembert": _bert("CamembertModel", reserved=2),
        "mpnet": Family(
            "MPNetModel",
            "encoder.layer",
            _MPNET,
            pre_norm=False,
            pool="mean",
            behind={"position_bias": "encoder.relative_attention_bias"},
            reserved=2,
        ),
        "distilbert": Family("DistilBertModel", "transformer.layer", _DISTILBERT, False, "mean"),
        "electra": Family(
            "ElectraModel", "encoder.layer", _BERT, False, "mean", embed=_embed_electra
        ),
    },
}


# What can be finetuned, in words: a `model_type` each.
FINETUNED = ", ".join(
    sorted({name for kinds in FAMILIES.values() for name in kinds} | {"convnext", "deberta-v2"})
)
