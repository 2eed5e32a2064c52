"""A trained model as a folder that can be handed on: weights, all that prediction takes, a model card.

| file | what |
| --- | --- |
| `model.safetensors` | every trained weight, the finetuned encoder layers included |
| `config.json` | `checkpoint.save`'s, and how inputs are encoded, params, metrics, checksums |
| `README.md` | a model card in the hub's format |

The frozen layers of the encoders are not in it: the bundle names the backbone and knows its fingerprints.
Nothing in the folder can run code.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentifuse.deploy import model_card
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.runtime.files import sha256, write_bytes, write_text

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_AGAIN = "fetch it again, or run `dvc repro package`"


@dataclass(frozen=True)
class CardFacts:
    """What the model card says beside the config.

    Attributes:
        name: of the model.
        license: its short name on the hub.
    """

    name: str
    license: str


@dataclass(frozen=True)
class Bundle:
    """What `load` read.

    Attributes:
        model: in eval mode.
        predict_views: which views of an image the model sees: `plain` or `mean`.
        temperature: of the probabilities.
        encoding: how inputs are encoded.
        params: the sections of `params.yaml` that it was trained with.
        metrics: of `metrics/evaluate.json`.
    """

    model: Classifier | Ensemble
    predict_views: Any
    temperature: float
    encoding: EncodingRecord
    params: dict[str, Any]
    metrics: dict[str, Any]


def save(
    folder: Path,
    trained: Path,
    encoding: EncodingRecord,
    data: dict[str, Any],
    params: dict[str, Any],
    metrics: dict[str, Any],
    card: CardFacts,
) -> None:
    """Writes weights, config and card; what else stood in `folder` is gone.

    Args:
        folder: the bundle.
        trained: the checkpoint.
        encoding: how the features that it was trained on were encoded.
        data: `name` of the data, and `samples`: part -> label -> how many.
        params: the sections of `params.yaml` that it was trained with.
        metrics: what `evaluate` found.
        card: what the model card says besides.

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    checkpoint.load(trained)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights = (trained / WEIGHTS).read_bytes()
    write_bytes(folder / WEIGHTS, weights)
    config = {
        "format": FORMAT,
        **json.loads((trained / CONFIG).read_text(encoding="utf-8")),
        "encoding": asdict(encoding),
        "data": data,
        "params": params,
        "metrics": metrics,
    }
    write_text(folder / CONFIG, _sealed(config))
    write_text(folder / CARD, model_card.render(config, card.name, card.license))


def load(folder: Path) -> Bundle:
    """Reads what `save` wrote, after `verify`.

    Raises:
        UserError: as of `verify`.
    """
    config = verify(folder)
    loaded = checkpoint.load(folder)
    return Bundle(
        model=loaded.model,
        predict_views=loaded.info["predict_views"],
        temperature=loaded.info["temperature"],
        encoding=encoding_record.parse(config["encoding"], f"{folder / CONFIG}: encoding"),
        params=config["params"],
        metrics=config["metrics"],
    )


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
    config = _unsealed(raw)
    if config is None:
        raise UserError(f"{path}: not a bundle's config, or changed since it was written: {_AGAIN}")
    if config["format"] != FORMAT:
        raise UserError(
            f"{path}: format {config['format']}, but this version reads format {FORMAT}: {_AGAIN}"
        )
    found = sha256(weights)
    if found != config["weights_sha256"]:
        if sha256(weights.replace(b"\r\n", b"\n")) == config["weights_sha256"]:
            raise UserError(
                f"{folder / WEIGHTS}: line ends were changed (git's core.autocrlf?): put `*.safetensors "
                "binary` into .gitattributes and check it out again"
            )
        raise UserError(
            f"{folder / WEIGHTS}: SHA-256 {found}, expected {config['weights_sha256']}: damaged, or "
            f"from another bundle: {_AGAIN}"
        )
    return config


def _sealed(config: dict[str, Any]) -> str:
    """The config as JSON that knows the SHA-256 that it has while that one is left empty."""
    blank = json.dumps({"sha256": "", **config}, indent=2, ensure_ascii=False, allow_nan=False)
    return blank.replace('"sha256": ""', f'"sha256": "{sha256(blank.encode())}"', 1) + "\n"


def _unsealed(raw: bytes) -> dict[str, Any] | None:
    """The config that `_sealed` wrote; None if anything but its line ends has changed."""
    try:
        config: dict[str, Any] = json.loads(raw)
        del config["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    # On Windows git may have changed them; what they part is the same.
    return config if _sealed(config).encode() == raw.replace(b"\r\n", b"\n") else None
