"""Training that goes on where a killed run stopped, with the same result to the bit.

After each epoch everything that decides the epochs to come is kept in `.sentifuse/resume/<key>/`. The key is
a hash of all that training starts from, the code included, so that no run takes up the state of another one.
"""

import hashlib
import io
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

import sentifuse
from sentifuse.config.recipe import Stage1, Stage2, StageRecipe
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Features
from sentifuse.models.classifier import Classifier
from sentifuse.runtime import numerics, precision, scratch
from sentifuse.runtime.files import sha256, write_bytes

_DAYS_KEPT = 14.0
_CODE = Path(sentifuse.__file__).parent
# What a run has reached: fields of `Loop` that are kept as they are.
_SO_FAR = ("history", "best", "best_epoch", "best_val")


@dataclass
class Loop:
    """Everything that changes from one epoch to the next.

    Attributes:
        model: its weights.
        optimizer: its moments and rates.
        scheduler: of the rates.
        rng: of shuffling, drawn views and dropout.
        history: one row per epoch.
        best: the weights with the best validation score so far, if there is one.
        best_epoch: their epoch; 0 for those that training started from.
        best_val: their scores.
    """

    model: Classifier
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler
    rng: np.random.Generator
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_epoch: int = 0
    best_val: dict[str, float] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """The state as tensors, numbers and text in mappings and lists."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": self.rng.bit_generator.state,
            **{name: getattr(self, name) for name in _SO_FAR},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Takes over what `state` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.rng.bit_generator.state = state["rng"]
        for name in _SO_FAR:
            setattr(self, name, state[name])


class Resume:
    """The states of the runs of `fit` that make up one stage: one run, or one for each member."""

    def __init__(self, root: Path) -> None:
        """Keeps states in `root`, and deletes those that nobody has taken up for two weeks."""
        self._root = root
        self.folders: list[Path] = []  # of the runs so far, each has the state of one
        scratch.prune("*", root, _DAYS_KEPT)

    def enter(
        self,
        loop: Loop,
        parts: Parts,
        recipe: StageRecipe[Stage1 | Stage2],
        start: Mapping[str, Tensor] | None,
    ) -> "Kept":
        """The state of the run that begins as `loop` is now; the other arguments are those of `fit`."""
        digest = hashlib.sha256()
        _feed(
            digest,
            {
                "machine": _machine(loop.model.device),
                "config": loop.model.config,
                "weights": loop.model.state_dict(),
                "start": start,
                "rng": loop.rng.bit_generator.state,
                "recipe": recipe,
                "precision": precision.of_training(
                    recipe.schedule.precision, loop.model.device.type
                ),
                "labels": parts.labels,
                "features": _read_by(loop.model, parts.train.features),
                "train": {
                    "rows": parts.train.rows,
                    "targets": parts.train.targets,
                    "weights": parts.train.weights,
                },
                "val": {"rows": parts.val.rows, "targets": parts.val.targets},
            },
        )
        folder = self._root / digest.hexdigest()[:32]
        self.folders.append(folder)
        return Kept(folder)

    def clear(self) -> None:
        """Deletes the states of this stage's runs, which has finished."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


class Kept:
    """The state of one run of `fit`: a file that begins with the SHA-256 of the rest."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state"
        self._works = True

    def save(self, loop: Loop) -> None:
        """Keeps `loop` instead of what was kept before; where that fails training goes on."""
        if not self._works:
            return
        buffer = io.BytesIO()
        torch.save(loop.state(), buffer)
        raw = buffer.getvalue()
        try:
            # Not synced to the disk: a power cut may cost a state, which is then ignored.
            write_bytes(self._path, sha256(raw).encode() + raw, unique=f"{os.getpid()}.")
        except OSError as error:
            self._works = False
            print(
                f"{self._path}: {error.strerror}: a killed run will start afresh", file=sys.stderr
            )

    def restore(self, loop: Loop) -> bool:
        """Puts the state that is kept into `loop`; says whether there is a sound one."""
        try:
            kept = self._path.read_bytes()
        except OSError:
            return False
        digest, raw = kept[:64], kept[64:]
        if sha256(raw).encode() != digest:
            return False
        loop.load(torch.load(io.BytesIO(raw), weights_only=True))
        return True


def _read_by(model: Classifier, features: Features) -> dict[str, Any]:
    """What tells the features that `model` reads from others: digests of the files, else the arrays."""
    needs = model.needs
    found: dict[str, Any] = {}
    for key, arrays in features.arrays.items():
        read = {
            "embeddings": True,
            "tokens": key in needs.tokens - needs.hidden,
            "hidden": key in needs.hidden,
            "offsets": key in needs.states,
        }
        noted = features.digests.get(key) or vars(arrays)
        found[key] = {name: noted.get(name) for name, wanted in read.items() if wanted}
    return {"meta": features.meta, "arrays": found}


def _machine(device: torch.device) -> dict[str, Any]:
    """What the bits of a result depend on beside the run's own inputs."""
    return {
        "code": {
            path.relative_to(_CODE).as_posix(): sha256(path.read_bytes())
            for path in sorted(_CODE.rglob("*.py"))
        },
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "numerics": numerics.settings(),
    }


def _feed(digest: "hashlib._Hash", value: Any) -> None:
    """Hashes `value` with its structure; arrays without a copy, memory-mapped ones too."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
    elif isinstance(value, Mapping):
        digest.update(f"mapping {len(value)}".encode())
        # Sorted: safetensors gives the weights of a file in another order each time.
        for key in sorted(value, key=repr):
            digest.update(f"{key!r}:".encode())
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        digest.update(f"list {len(value)}".encode())
        for each in value:
            _feed(digest, each)
    elif value is None or isinstance(value, (str, int, float)):
        digest.update(f"{value!r};".encode())
    else:  # the text of another object may hold its address, or leave a part of it out
        raise TypeError(f"cannot hash a {type(value).__name__}")
