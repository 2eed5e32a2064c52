"""A bundle's files -> its model, and the backbone that it was trained on."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentifuse.deploy.bundle import CONFIG, verify
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
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


def load_backbone(folder: Path, record: EncodingRecord, place: str | None) -> Backbone:
    """Loads the backbone of a bundle, and warns where this machine may give other last digits.

    `place` is a hub id or a folder, if the backbone is not where it was in training.

    Raises:
        UserError: that backbone is not here, or another version of the library encoded the inputs.
    """
    if record.version != encoding.VERSION:
        raise UserError(
            f"{folder}: inputs were encoded by version {record.version}, this is version "
            f"{encoding.VERSION}: use the release that made it, or train again with `dvc repro`"
        )
    setting = record.setting
    device = setting.device if setting.device == devices.kind() else "cpu"
    name, revision = (record.backbone, record.revision) if place is None else (place, None)
    try:
        backbone = registry.load(name, revision, setting.precision, device)
    except UserError as error:
        raise UserError(
            f"{folder}: its backbone cannot be loaded; another place is told by `--backbone` "
            f"(Predictor.load(..., backbone=...)): {error}"
        ) from None
    for modality, here, expected in (
        ("image", backbone.image.fingerprint, record.image_fingerprint),
        ("text", backbone.text.fingerprint, record.text_fingerprint),
    ):
        if here != expected:
            raise UserError(
                f"{folder}: trained on {record.backbone!r} with the {modality} encoder {expected}, but "
                f"{name!r} here is {here}: get the one that it was trained on and pass its folder as "
                "`--backbone`, or train again with `dvc repro`"
            )
    _warn_of_differences(folder, record, device)
    return backbone


def _warn_of_differences(folder: Path, record: EncodingRecord, device: str) -> None:
    here = encoding_record.versions()
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
