"""The encoders that `params.yaml` asks for: loaded, checked, and with what of their output is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentifuse.config import backbone as config
from sentifuse.config.backbone import Modality
from sentifuse.encoders import ocr, registry
from sentifuse.encoders.interface import AnyEncoder, Backbone, fingerprint_of
from sentifuse.errors import UserError
from sentifuse.features.encoding import VERSIONS, EncoderRecord


@dataclass(frozen=True)
class Wanted:
    """What is asked of the encoders of one modality.

    Attributes:
        modality: `image` or `text`.
        names: of the encoders, as in `params.yaml`.
        splits: how many of the last layers of each are to be finetuned.
        ocr: whether the first one of texts encodes the text in images, too.
    """

    modality: Modality
    names: Sequence[str]
    splits: Sequence[int]
    ocr: bool = False


def wanted(
    backbone: config.Backbone, image_layers: Sequence[int], text_layers: Sequence[int]
) -> list[Wanted]:
    """What the section `backbone` asks for, with the layers to finetune of images and of texts."""
    images, texts = backbone.image, backbone.text
    return [
        Wanted("image", images, config.spread(image_layers, images)),
        Wanted("text", texts, config.spread(text_layers, texts), backbone.ocr),
    ]


def load(wanted: Sequence[Wanted], expected: str | None) -> dict[str, AnyEncoder]:
    """Loads encoders in float32 and prints their fingerprint.

    Args:
        wanted: the encoders, those of images first.
        expected: their fingerprint; None for whatever there is.

    Returns:
        The encoders by key; the one that encodes the text in images, too, has two.

    Raises:
        UserError: no such encoder, or not the expected ones.
    """
    backbone = {
        key: registry.load(name, each.modality)
        for each in wanted
        for key, name in zip(registry.keys(each.names, each.modality), each.names, strict=True)
    }
    found = fingerprint_of(backbone)
    if expected is not None and found != expected:
        raise UserError(
            f"backbone.fingerprint: {expected}: the weights, configs and vocabularies of "
            f"{', '.join(backbone)} have {found}: not the files that were expected"
        )
    print(f"backbone.fingerprint: {found}")
    for each in wanted:
        if each.ocr:
            first = registry.keys(each.names, each.modality)[0]
            backbone[registry.ocr_key(first)] = backbone[first]
    return backbone


def records(
    backbone: Backbone, wanted: Sequence[Wanted], tokens: bool, precision: str
) -> tuple[EncoderRecord, ...]:
    """How each encoder is used.

    Args:
        backbone: as of `load`.
        wanted: what `load` was given.
        tokens: whether token states are kept: those of the first encoder of each modality, which attention
            reads.
        precision: that encoders compute in which have a choice.

    Raises:
        UserError: more layers to finetune than an encoder has, or nothing is installed that reads the text in
            images.
    """
    found = []
    for each in wanted:
        names = zip(registry.keys(each.names, each.modality), each.names, each.splits, strict=True)
        for place, (key, name, split) in enumerate(names):
            encoder = backbone[key]
            _check_depth(each.modality, name, split, encoder)
            found.append(
                EncoderRecord(
                    key=key,
                    modality=each.modality,
                    name=name,
                    version=VERSIONS[each.modality],
                    fingerprint=encoder.fingerprint,
                    spec=encoder.spec,
                    max_tokens=getattr(encoder, "max_tokens", None),
                    split=split,
                    tokens=tokens and place == 0,
                    precision=precision if encoder.lowers else "fp32",
                )
            )
        if each.ocr:
            # It stays frozen, and attention does not read its tokens.
            first = found[-len(each.names)]
            key, reader = registry.ocr_key(first.key), ocr.fingerprint()
            found.append(replace(first, key=key, split=0, tokens=False, ocr=reader))
    return tuple(found)


def _check_depth(modality: Modality, name: str, split: int, encoder: AnyEncoder) -> None:
    key = "unfreeze_vision_layers" if modality == "image" else "unfreeze_text_layers"
    if split and not encoder.layers:
        try:
            encoder.tail(split)
        except UserError as error:  # it says which models can be finetuned
            raise UserError(f"{key}: {split}: {name!r}: {error}") from None
    if split > encoder.layers:
        raise UserError(f"{key}: {split}: the encoder {name!r} has {encoder.layers} layers")
    if split and split == encoder.layers:
        print(
            f"{key}: {split} is the whole encoder {name!r}: stage 2 gains little from the cache and is slow"
        )
