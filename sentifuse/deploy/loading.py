"""A bundle's files -> its model, and the backbone that it was trained on."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentifuse.config.backbone import BUILT_IN
from sentifuse.data.text import TextSpec
from sentifuse.deploy.bundle import CONFIG, verify
from sentifuse.encoders import ocr, registry
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.encoders.ocr import Reader
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
from sentifuse.features.encoding import EncoderRecord
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.runtime import devices


@dataclass(frozen=True)
class Bundle:
    """What prediction needs of a bundle; the model is in eval mode and sees `plain` or `mean` views."""

    model: Classifier | Ensemble
    predict_views: Any
    temperature: float
    encoding: EncodingRecord


def load(folder: Path) -> Bundle:
    """Reads what `bundle.save` wrote; raises a `UserError` as `bundle.verify` does."""
    config = verify(folder)
    loaded = checkpoint.load(folder)
    return Bundle(
        model=loaded.model,
        predict_views=loaded.info["predict_views"],
        temperature=loaded.info["temperature"],
        encoding=encoding_record.parse(config["encoding"], f"{folder / CONFIG}: encoding"),
    )


def load_backbone(
    folder: Path, record: EncodingRecord, places: str | Mapping[str, str] | None
) -> dict[str, AnyEncoder]:
    """Loads the encoders of a bundle, and warns where this machine may give other last digits.

    Args:
        folder: of the bundle.
        record: how its inputs are encoded.
        places: hub ids or folders, where encoders are not where they were in training: by key, or one for all
            that do not come with pip.

    Raises:
        UserError: an encoder is not here, or another version of the library encoded the inputs.
    """
    setting = record.setting
    device = setting.device if setting.device == devices.kind() else "cpu"
    moved = _moved(folder, record, places)
    backbone = {
        each.key: _load_encoder(folder, each, moved.get(each.key, each.name), device)
        for each in record.encoders
        if not each.ocr
    }
    first_text = next(each for each in record.encoders if each.modality == "text")
    for each in record.encoders:
        if each.ocr:
            backbone[each.key] = backbone[first_text.key]
    _warn_of_differences(folder, record, device)
    return backbone


def load_reader(folder: Path, record: EncodingRecord) -> Reader | None:
    """Loads what reads the text in images; None for a bundle that does not ask for it.

    Raises:
        UserError: it is not installed, or it is not the one that the bundle was trained with.
    """
    found = record.reader
    return None if found is None else ocr.load_same(folder, found.fingerprint)


def _moved(
    folder: Path, record: EncodingRecord, places: str | Mapping[str, str] | None
) -> Mapping[str, str]:
    """Key -> place of the encoders that are elsewhere."""
    if isinstance(places, str):
        moved = {each.key: places for each in record.encoders if each.name not in BUILT_IN}
        if not moved:
            raise UserError(f"{folder}: --backbone {places}: all of its encoders come with pip")
        return moved
    keys = [each.key for each in record.encoders if not each.ocr]
    for unknown in set(places or ()) - set(keys):
        raise UserError(
            f"{folder}: --backbone {unknown}: no such encoder: expected one of {', '.join(keys)}"
        )
    return places or {}


def _load_encoder(folder: Path, own: EncoderRecord, name: str, device: str) -> AnyEncoder:
    here = encoding.VERSIONS[own.modality]
    if own.version != here:
        raise UserError(
            f"{folder}: {own.modality}s were encoded by version {own.version}, this is version {here}: use "
            "the release that made it, or train again with `dvc repro`"
        )
    try:
        # The name may say how texts are read, and another place may have another name.
        spec = own.spec if isinstance(own.spec, TextSpec) else None
        encoder = registry.load(name, own.modality, own.precision, device, spec)
    except UserError as error:
        raise UserError(
            f"{folder}: its encoder {own.key} cannot be loaded; another place is told by `--backbone` "
            f"(Predictor.load(..., backbone=...)): {error}"
        ) from None
    if encoder.fingerprint != own.fingerprint:
        raise UserError(
            f"{folder}: trained on {own.name!r} with the {own.modality} encoder {own.fingerprint}, but "
            f"{name!r} here is {encoder.fingerprint}: get the one that it was trained on and pass its folder "
            "as `--backbone`, or train again with `dvc repro`"
        )
    return encoder


def _warn_of_differences(folder: Path, record: EncodingRecord, device: str) -> None:
    here = encoding_record.versions(record.reader is not None)
    other = [
        f"{library} {version} (here {here.get(library)})"
        for library, version in record.libraries.items()
        if here.get(library) != version
    ]
    if device != record.setting.device:
        other.append(f"{record.setting.device} (here {device})")
    if other:
        # The caller of `Predictor.load` is the one to be warned.
        warnings.warn(
            f"{folder}: was trained with {', '.join(other)}: the last digits may differ",
            stacklevel=4,
        )
