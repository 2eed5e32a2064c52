"""The files of a bundle: weights, config and model card of a trained model, as a folder to hand on.

The frozen layers of the encoders are not in it: the bundle names the backbone and knows its fingerprints.
Nothing in the folder can run code. `loading` makes a model of it; this module needs no torch.
"""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from sentifuse.deploy import model_card
from sentifuse.deploy.sealed import seal, unseal
from sentifuse.errors import UserError
from sentifuse.runtime.files import read_json, sha256, write_bytes, write_text

FORMAT = 2  # 2: weights and encoding by the key of the encoder
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_AGAIN = "fetch it again, or run `dvc repro package`"


@dataclass(frozen=True)
class Provenance:
    """How a model came about.

    `encoding` has the fields of an `EncodingRecord`, `data` the `name` of the data and `samples` (part ->
    label -> how many), `params` the sections of `params.yaml`, `metrics` what `evaluate` found.
    """

    encoding: dict[str, Any]
    data: dict[str, Any]
    params: dict[str, Any]
    metrics: dict[str, Any]


def save(folder: Path, trained: Path, provenance: Provenance, name: str, licence: str) -> None:
    """Makes a bundle of the checkpoint `trained`; whatever else stood in `folder` is removed.

    The card names the model, and the licence by its short name on the hub.

    Raises:
        UserError: there is no such checkpoint, it is damaged, or a weight is NaN or infinite.
    """
    document = read_json(trained / CONFIG)
    try:
        weights = (trained / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such checkpoint file: run `dvc repro`") from None
    if sha256(weights) != document.get("weights_sha256"):
        raise UserError(
            f"{trained}: not a checkpoint: {WEIGHTS} is damaged, or does not belong to {CONFIG}: delete "
            "the folder and run `dvc repro`"
        )
    for key, weight in safetensors.numpy.load(weights).items():
        if not np.isfinite(weight).all():
            raise UserError(
                f"{trained}: the weight {key!r} has numbers that are NaN or infinite: train again with "
                "lower learning rates, or with precision fp32, in stage1 and stage2"
            )
    config = {"format": FORMAT, **document, **asdict(provenance)}
    shutil.rmtree(folder, ignore_errors=True)
    write_bytes(folder / WEIGHTS, weights)
    write_text(folder / CONFIG, seal(config))
    write_text(folder / CARD, model_card.render(config, name, licence))


def verify(folder: Path) -> dict[str, Any]:
    """Checks that no bit of weights and config has changed since `save`, and returns the config.

    Raises:
        UserError: a file is missing or damaged, or the bundle is of another format.
    """
    path = folder / CONFIG
    try:
        raw, weights = path.read_bytes(), (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"{error.filename}: no such file: a bundle is a folder with {WEIGHTS} and {CONFIG}, "
            "as `dvc repro package` writes to models/bundle"
        ) from None
    config = unseal(raw)
    if config is None:
        raise UserError(f"{path}: not a bundle's config, or changed since it was written: {_AGAIN}")
    if config["format"] != FORMAT:
        raise UserError(
            f"{path}: format {config['format']}, but this version reads format {FORMAT}: {_AGAIN}"
        )
    found, expected = sha256(weights), config["weights_sha256"]
    if found != expected and sha256(weights.replace(b"\r\n", b"\n")) == expected:
        raise UserError(
            f"{folder / WEIGHTS}: line ends were changed (git's core.autocrlf?): put `*.safetensors "
            "binary` into .gitattributes and check it out again"
        )
    if found != expected:
        raise UserError(
            f"{folder / WEIGHTS}: SHA-256 {found}, expected {expected}: damaged, or from another "
            f"bundle: {_AGAIN}"
        )
    return config
