"""How a model of sentence-transformers makes one vector of its token states: the files in its folder say it.

`modules.json` lists the modules that follow the transformer: pooling, perhaps a dense layer, and perhaps a
normalisation, which the layer norm of the classifier makes superfluous.
"""

import json
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import nn

from sentifuse.encoders import foreign
from sentifuse.encoders.foreign import Keys, read_keys
from sentifuse.encoders.pretrained import Place
from sentifuse.errors import UserError

# The names of sentence-transformers -> ours.
_MODES = {"cls": "first", "mean": "mean", "max": "max", "lasttoken": "last"}
_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


@dataclass(frozen=True)
class Pooling:
    """What follows the last layer.

    Attributes:
        pool: as of the module `pooling`; None if the folder says nothing.
        dense: a layer behind it, or None.
        tanh: whether a hyperbolic tangent follows `dense`.
        max_tokens: where its authors cut texts; None if they do not say.
    """

    pool: str | None = None
    dense: nn.Linear | None = None
    tanh: bool = False
    max_tokens: int | None = None


def read(place: Place) -> Pooling:
    """Reads the files; a model without them gives `Pooling()`.

    Raises:
        UserError: a file that cannot be read, or asks for what is not done here.
    """
    path = place.find("modules.json")
    if path is None:
        return Pooling()
    found: dict[str, str] = {}
    with foreign.reading(f"{place.source}: modules.json", "fetch it again"):
        for module in json.loads(path.read_text(encoding="utf-8")):
            found[str(module["type"]).rpartition(".")[2]] = str(module["path"])
    for kind in found.keys() - {"Transformer", "Pooling", "Dense", "Normalize"}:
        raise UserError(
            f"{place.source}: modules.json: a module of type {kind!r}: expected Transformer, Pooling, Dense "
            "and Normalize only"
        )
    if "Pooling" not in found:
        return Pooling(max_tokens=_max_tokens(place))
    keys = _keys(place, f"{found['Pooling']}/config.json")
    dense, tanh = _dense(place, found["Dense"]) if "Dense" in found else (None, False)
    return Pooling(_mode(keys), dense, tanh, _max_tokens(place))


def _mode(keys: Keys) -> str:
    modes = keys.get("pooling_mode") or [
        mode for key, mode in _OLD_KEYS.items() if keys.get(key) is True
    ]
    if isinstance(modes, str):
        modes = [modes]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise UserError(f"{keys.source}: pooling {modes}: expected one of {', '.join(_MODES)}")
    return _MODES[modes[0]]


def _dense(place: Place, folder: str) -> tuple[nn.Linear, bool]:
    keys = _keys(place, f"{folder}/config.json")
    activation = str(keys.get("activation_function", "Identity")).rpartition(".")[2]
    if activation not in ("Identity", "Tanh"):
        keys.refuse("activation_function", "torch.nn.Tanh or torch.nn.Identity")
    source = f"{place.source}: {folder}: the weights"
    with foreign.reading(source, "fetch them again"):
        tensors, pickled = (
            place.find(f"{folder}/{name}") for name in ("model.safetensors", "pytorch_model.bin")
        )
        if tensors is not None:
            weights = safetensors.torch.load_file(tensors)
        else:
            weights = torch.load(str(pickled), map_location="cpu", weights_only=True)
        out_features, in_features = weights["linear.weight"].shape
        dense = nn.Linear(in_features, out_features, bias="linear.bias" in weights)
        dense.load_state_dict(
            {name.removeprefix("linear."): value.float() for name, value in weights.items()}
        )
    return dense, activation == "Tanh"


def _max_tokens(place: Place) -> int | None:
    path = place.find("sentence_bert_config.json")
    if path is None:
        return None
    keys = read_keys(path, place.source)
    found = keys.get("max_seq_length")
    if found is not None and (not isinstance(found, int) or found < 3):
        keys.refuse("max_seq_length", "a number of tokens")
    return found


def _keys(place: Place, file: str) -> Keys:
    path = place.find(file)
    if path is None:
        raise UserError(
            f"{place.source}: {file}: no such file, but modules.json names it: fetch it"
        )
    keys = read_keys(path, place.source)
    return Keys(f"{place.source}: {file}", keys.values)
