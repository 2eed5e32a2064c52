"""Training that goes on where a killed run stopped, with the same result to the bit.

After each epoch all that decides the epochs to come is kept in `.sentifuse/resume/<key>/`, as one
safetensors file with JSON in its header, named by the SHA-256 of its own bytes: a damaged one gives
itself away and is ignored. The key is a hash of everything that training starts from, the code
included, so that a state is never taken up by a run that would have come to another.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

import sentifuse
from sentifuse.runtime import numerics, scratch
from sentifuse.runtime.files import sha256, write_bytes

_DAYS_KEPT = 14.0
_CODE = Path(sentifuse.__file__).parent


@dataclass
class Loop:
    """All that changes from one epoch to the next.

    Attributes:
        model: its weights.
        optimizer: its moments and rates.
        schedulers: by name; each is an `LRScheduler`.
        rng: of shuffling, drawn views and dropout.
        history: a row an epoch.
        best: the weights with the best validation score so far, if any.
        best_epoch: theirs.
        best_val: their scores.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedulers: dict[str, LRScheduler]
    rng: np.random.Generator
    history: list[dict[str, float]]
    best: dict[str, Tensor] | None
    best_epoch: int
    best_val: dict[str, float]


class Resume:
    """The states of the runs of `fit` that make up one stage: one, or one for each member."""

    def __init__(self, root: Path) -> None:
        """Keeps states in `root`, and deletes those of runs that nobody has taken up for two weeks."""
        self._root = root
        self._used: list[Path] = []
        scratch.prune("*", root, _DAYS_KEPT)

    def enter(self, start: Mapping[str, Any]) -> "Kept":
        """The state of the run that starts from `start`: dataclasses, mappings, lists, arrays, numbers."""
        digest = hashlib.sha256()
        _feed(digest, {"machine": _machine(), **start})
        folder = self._root / digest.hexdigest()[:32]
        self._used.append(folder)
        return Kept(folder)

    def clear(self) -> None:
        """Deletes the states of this stage's runs: it has finished."""
        for folder in self._used:
            shutil.rmtree(folder, ignore_errors=True)


class Kept:
    """The state of one run of `fit`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._works = True

    def save(self, loop: Loop) -> None:
        """Keeps `loop` instead of what was kept before. Where that cannot be written training goes on."""
        if not self._works:
            return
        tensors, values = _pack(loop)
        raw = safetensors.torch.save(tensors, {"values": json.dumps(values)})
        path = self._folder / f"{sha256(raw)}.safetensors"
        try:
            # Not synced to the disk: a power cut may cost a state, which is then ignored.
            write_bytes(path, raw, unique=f"{os.getpid()}.")
            for older in self._folder.iterdir():
                if older != path:
                    older.unlink(missing_ok=True)
        except OSError as error:
            self._works = False
            print(f"{path}: {error.strerror}: a killed run will start afresh", file=sys.stderr)

    def restore(self, loop: Loop) -> bool:
        """Puts the state of the latest sound epoch into `loop`, if there is one; says whether."""
        found = [state for path in self._folder.glob("*.safetensors") if (state := _read(path))]
        if not found:
            return False
        _unpack(loop, *max(found, key=lambda state: len(state[1]["history"])))
        return True


def _pack(loop: Loop) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {f"model.{key}": value for key, value in loop.model.state_dict().items()}
    # The latest weights are often the best ones, too: a quarter less to write.
    latest_is_best = loop.best is not None and loop.best_epoch == len(loop.history)
    if loop.best is not None and not latest_is_best:
        tensors |= {f"best.{key}": value for key, value in loop.best.items()}
    optimizer = loop.optimizer.state_dict()
    for index, state in optimizer["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    values = {
        "rates": [group["lr"] for group in optimizer["param_groups"]],
        "schedulers": {name: each.state_dict() for name, each in loop.schedulers.items()},
        "rng": loop.rng.bit_generator.state,
        "history": loop.history,
        "latest_is_best": latest_is_best,
        "best_epoch": loop.best_epoch,
        "best_val": loop.best_val,
    }
    return {key: value.detach().contiguous() for key, value in tensors.items()}, values


def _unpack(loop: Loop, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    def part(name: str) -> dict[str, Tensor]:
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}

    loop.model.load_state_dict(part("model"))
    best = part("model" if values["latest_is_best"] else "best")
    loop.best = {key: value.clone() for key, value in best.items()} or None
    optimizer = loop.optimizer.state_dict()
    parameters = [each for group in loop.optimizer.param_groups for each in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimizer").items():
        index, _, name = key.partition(".")
        # Laid out as the optimizer would: where the sums run over memory in another order, or from
        # another alignment, the last bits may differ.
        like = parameters[int(index)]
        moment = torch.empty_like(like) if value.shape == like.shape else torch.empty_like(value)
        states.setdefault(int(index), {})[name] = moment.detach().copy_(value)
    for group, rate in zip(optimizer["param_groups"], values["rates"], strict=True):
        group["lr"] = rate
    loop.optimizer.load_state_dict({**optimizer, "state": states})
    for name, scheduler in loop.schedulers.items():
        scheduler.load_state_dict(values["schedulers"][name])
    loop.rng.bit_generator.state = values["rng"]
    loop.history[:] = values["history"]
    loop.best_epoch, loop.best_val = values["best_epoch"], values["best_val"]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    if sha256(raw) != path.stem:
        return None
    with safetensors.safe_open(path, framework="pt") as file:
        values: dict[str, Any] = json.loads(file.metadata()["values"])
    return safetensors.torch.load(raw), values


def _machine() -> dict[str, Any]:
    """What the bits of a result depend on beside the run's own inputs."""
    return {
        "code": [[path.name, sha256(path.read_bytes())] for path in sorted(_CODE.rglob("*.py"))],
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "numerics": numerics.settings(),
    }


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    """Hashes `value` with its structure; arrays without a copy, memory-mapped ones too."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        for key in value:
            _feed(digest, key)
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(f"list {len(value)}".encode())
        for each in value:
            _feed(digest, each)
    elif value is None or isinstance(value, (str, int, float)):
        digest.update(f"{type(value).__name__} {value!r};".encode())
    else:
        raise TypeError(f"cannot hash a {type(value).__name__}")
