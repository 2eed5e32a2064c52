"""A model of the hub or of a folder -> an encoder: at the split point if its family is known, else frozen."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from sentifuse.config.backbone import Modality
from sentifuse.data.images import ImageSpec
from sentifuse.data.text import TextSpec
from sentifuse.encoders import (
    convnext,
    deberta,
    image_processor,
    pretrained,
    sentence_pooling,
    tails,
    tokenizing,
)
from sentifuse.encoders.conversion import body
from sentifuse.encoders.families import FAMILIES, Family
from sentifuse.encoders.frozen import FrozenImageEncoder, FrozenTextEncoder
from sentifuse.encoders.image_processor import PREPROCESSOR, PROCESSOR
from sentifuse.encoders.interface import ImageEncoder, TextEncoder
from sentifuse.encoders.pretrained import Place
from sentifuse.encoders.sentence_pooling import Pooling
from sentifuse.encoders.split_encoder import SplitImageEncoder, SplitTextEncoder
from sentifuse.errors import UserError

# Keys of `config.json` that differ between files of the same model.
_NOT_OUTPUT = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")


def load_image(place: Place, precision: str, device: str) -> ImageEncoder:
    """Loads an image encoder.

    Args:
        place: a hub id, or a folder that `save_pretrained` wrote, with the files of the image processor.
        precision: `fp32`, `bf16` or `fp16`; the latter two for transformers of `FAMILIES` only.
        device: where it encodes.

    Raises:
        UserError: no such files here and no network, a model that reads no images, or files that lack
            something, do not belong together, or ask for what is not done here.
    """
    config = pretrained.config(place, "image")
    vision = getattr(config, "vision_config", config)
    spec = _image_spec(place, config.model_type, vision)
    family, said = FAMILIES["image"].get(config.model_type), f"image {_said(vision)}"
    if family is not None:
        parts = _transformer(place, family, Pooling())
    elif config.model_type == "convnext":
        parts = _convnext(place)
    else:
        return FrozenImageEncoder(_any(place, config, "image"), spec, said, device)
    encoder = SplitImageEncoder(spec, *parts, described=said, precision=precision, device=device)
    encoder.joint = family is not None and family.joint
    return encoder


def load_text(
    place: Place,
    precision: str,
    device: str,
    max_tokens: int | None = None,
    spec: TextSpec | None = None,
) -> TextEncoder:
    """Loads a text encoder; as `load_image`, with the files of the tokenizer.

    `max_tokens` is where texts are cut, and `spec` how they are read, if not as the model's own files say.
    """
    config = pretrained.config(place, "text")
    text = getattr(config, "text_config", config)
    if not hasattr(text, "vocab_size"):
        raise _reads_no(place, config, "text")
    family, described = FAMILIES["text"].get(config.model_type), f"text {_said(text)}"
    said = Pooling() if family is not None and family.pads else sentence_pooling.read(place)
    tokenizer = tokenizing.load(place, text, family, max_tokens or said.max_tokens, spec)
    if family is not None:
        parts = _transformer(place, family, said)
    elif config.model_type == "deberta-v2" and not getattr(config, "conv_kernel_size", 0):
        _no_dense(place, said, config.model_type)
        parts = _deberta(place, said.pool or "mean")
    else:
        _no_dense(place, said, config.model_type)
        model = _any(place, config, "text")
        return FrozenTextEncoder(model, tokenizer, said.pool or "mean", described, device)
    encoder = SplitTextEncoder(
        tokenizer, *parts, described=described, precision=precision, device=device
    )
    encoder.joint = family is not None and family.joint
    return encoder


# What a `SplitEncoder` is made of: stem, how it is applied, body, config of the body.
_Parts = tuple[Any, Any, nn.Module, dict[str, Any]]


def _whole(place: Place, name: str, layers: str) -> Any:
    import transformers

    return pretrained.model(place, getattr(transformers, name), layers)


def _transformer(place: Place, family: Family, said: Pooling) -> _Parts:
    model = _whole(place, family.model, family.layers)
    taken = body(family, model, said.pool or family.pool, said.dense, said.tanh)
    return model, family.embed, taken, {"kind": "transformer", **asdict(taken.config)}


def _convnext(place: Place) -> _Parts:
    model = _whole(place, "ConvNextModel", "encoder.stages")
    config = _body_config("convnext", model.config, layers=sum(model.config.depths))
    return model, convnext.embed, _filled(config, convnext.take(model)), config


def _deberta(place: Place, how: str) -> _Parts:
    model = _whole(place, "DebertaV2Model", "encoder.layer")
    layers = model.config.num_hidden_layers
    config = _body_config("deberta", model.config, layers=layers) | {"pool": how}
    return model, deberta.embed, _filled(config, deberta.take(model)), config


def _body_config(kind: str, config: Any, layers: int) -> dict[str, Any]:
    return {"kind": kind, "layers": layers, "model": _said(config)}


def _said(config: Any) -> dict[str, Any]:
    """What `config.json` says of a model, without what decides on no output."""
    return {key: value for key, value in config.to_diff_dict().items() if key not in _NOT_OUTPUT}


def _filled(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    built = tails.build(config)
    built.load_state_dict(weights)
    return built.requires_grad_(False).eval()


def _any(place: Place, config: Any, modality: Modality) -> Any:
    """A model of which nothing is known but that `transformers` has it."""
    import transformers
    from transformers.models.auto import modeling_auto

    kind: Any = transformers.AutoModel
    if (
        modality == "text"
        and config.model_type in modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES
    ):
        # The encoder alone, of models that also have a decoder.
        kind = transformers.AutoModelForTextEncoding
    found = pretrained.model(place, kind, "", keep_pooler=modality == "image")
    if found.main_input_name != {"image": "pixel_values", "text": "input_ids"}[modality]:
        raise _reads_no(place, config, modality)
    return found


def _reads_no(place: Place, config: Any, modality: Modality) -> UserError:
    return UserError(f"{place.source}: a model of type {config.model_type!r} reads no {modality}s")


def _no_dense(place: Place, said: Pooling, model_type: str) -> None:
    if said.dense is not None:
        raise UserError(
            f"{place.source}: modules.json: a dense layer behind a model of type {model_type!r}: expected "
            "one of the families of transformers that can be finetuned (docs/encoders.md)"
        )


def _image_spec(place: Place, model_type: str, vision: Any) -> ImageSpec:
    if getattr(vision, "num_channels", 3) != 3:
        raise UserError(
            f"{place.source}: config.json: num_channels: {vision.num_channels}: expected 3: images are read "
            "as RGB"
        )
    files = {name: place.find(name) for name in (PROCESSOR, PREPROCESSOR)}
    if model_type.startswith("siglip2"):
        # These take pictures of any proportions, cut into so many patches: here they are squares.
        side = vision.patch_size * math.isqrt(vision.num_patches)
        return ImageSpec(side, side, (0.5,) * 3, (0.5,) * 3, squash=True, resample="bilinear")
    interpolates = model_type.startswith("dinov2") or not hasattr(vision, "image_size")
    size = None if interpolates else vision.image_size
    return image_processor.image_spec(place.source, files, size)
