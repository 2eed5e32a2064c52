"""A trained model as a folder: `model.safetensors` and `config.json`; nothing in it can run code.

`config.json` has the hash of the weights, so that a flipped bit and weights of another run are noticed.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from sentifuse.errors import UserError
from sentifuse.features.schema import encoder_metas
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.models.ensemble import Ensemble
from sentifuse.runtime.files import sha256, write_bytes, write_json

# What reading a file that is cut off, or another version's, may raise.
_DAMAGED = (
    safetensors.SafetensorError,
    UserError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A model and how it was trained.

    Attributes:
        model: in eval mode.
        info: what training noted: best epoch, validation scores, how views are used.
    """

    model: Classifier | Ensemble
    info: dict[str, Any]

    def single(self) -> Classifier:
        """The model, which must not be an ensemble.

        Raises:
            UserError: it is one.
        """
        if isinstance(self.model, Ensemble):
            raise UserError("an ensemble of models where a single one is expected")
        return self.model


def save(folder: Path, model: Classifier | Ensemble, info: dict[str, Any]) -> None:
    """Writes the model; the same weights give the same bytes.

    Raises:
        UserError: a weight is NaN or infinite.
    """
    _check_finite(folder, model)
    members = len(model.members) if isinstance(model, Ensemble) else 1
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    # Through bytes: safetensors' own file writer makes files that only their owner can read.
    raw = safetensors.torch.save(weights)
    write_bytes(folder / "model.safetensors", raw)
    document = {
        "model": asdict(model.config),
        "members": members,
        "weights_sha256": sha256(raw),
        "info": info,
    }
    write_json(folder / "config.json", document)


def load(folder: Path) -> Checkpoint:
    """Reads what `save` wrote.

    Raises:
        UserError: files are missing, damaged or do not belong together, or a weight is NaN or infinite.
    """
    try:
        document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        encoders = encoder_metas(document["model"]["encoders"])
        config = ModelConfig(**{**document["model"], "encoders": encoders})
        if document["members"] < 1:
            raise ValueError(f"members {document['members']}")
        classifiers = [Classifier(config) for _ in range(document["members"])]
        model = classifiers[0] if len(classifiers) == 1 else Ensemble(classifiers)
        raw = (folder / "model.safetensors").read_bytes()
        if sha256(raw) != document["weights_sha256"]:
            raise ValueError("model.safetensors: damaged, or not the weights of this config.json")
        model.load_state_dict(safetensors.torch.load(raw))
        info: dict[str, Any] = document["info"]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such checkpoint file: run `dvc repro`") from None
    except _DAMAGED as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{folder}: not a checkpoint of this version ({reason}): delete it and run `dvc repro`, "
            "after `python -m sentifuse mend` if it comes back"
        ) from None
    _check_finite(folder, model)
    return Checkpoint(model.eval(), info)


def _check_finite(folder: Path, model: Classifier | Ensemble) -> None:
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise UserError(
                f"{folder}: the weight {name!r} has numbers that are NaN or infinite: train again with lower "
                "learning rates (lr_head, lr_attn, lr_clip), or with precision fp32, in stage1 and stage2"
            )
