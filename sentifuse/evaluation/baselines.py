"""What the model is compared with on one split: the majority class, one modality, a logistic regression."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from sentifuse.config.recipe import InputMode
from sentifuse.errors import UserError
from sentifuse.features.batches import Needs, ViewChoice
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Described
from sentifuse.metrics.scores import Floats, headline
from sentifuse.metrics.softmax import softmax
from sentifuse.runtime.files import write_bytes
from sentifuse.runtime.threads import cores
from sentifuse.training import logistic_regression as lr

# CLIP multiplies cosines by this before the softmax: its training stops the factor there.
_SCALE = 100.0

# Trained as the model is, on one modality (`input_mode`).
UNIMODAL: tuple[InputMode, ...] = ("text_only", "image_only")
# The last three are for encoders with a joint space, such as CLIP's.
NAMES = (
    "majority",
    *UNIMODAL,
    "logistic_regression",
    "linear_probe",
    "zero_shot_image",
    "zero_shot",
)
_FILE = "test.safetensors"


def majority(parts: Parts) -> Floats:
    """The shares of the classes in training, for every test sample: (N, C) probabilities."""
    counts = np.bincount(parts.train.targets.numpy(), minlength=len(parts.labels))
    return np.tile(counts / counts.sum(), (len(parts.test), 1))


def zero_shot(parts: Parts, views: ViewChoice, labels: Described) -> dict[str, Floats]:
    """How alike a sample and the prompts of each label are, without any training (Radford et al. 2021).

    Args:
        parts: the data.
        views: which views of an image are averaged.
        labels: in words, C of them.

    Returns:
        `zero_shot_image`, of the image alone, and `zero_shot`, of image and text: (N, C) probabilities on the
        test part, the softmax of cosines times `_SCALE`.
    """
    batch = parts.test.batch(np.arange(len(parts.test)), Needs(), views)
    v, t = (_unit(batch[key].embedding.mean(dim=1).numpy()) for key in (labels.image, labels.text))
    return {
        "zero_shot_image": softmax(_SCALE * v @ labels.embeddings.T),
        "zero_shot": softmax(_SCALE * (v + t) / 2 @ labels.embeddings.T),
    }


def logistic_regression(
    parts: Parts, views: ViewChoice, seed: int, encoders: Collection[str] | None = None
) -> Floats:
    """A multinomial logistic regression on embeddings side by side, standardised.

    On those of one encoder it is what is called a linear probe.

    The penalty is the one with the highest macro-F1 on validation, the strongest if several have it;
    without a validation part it is 1e-2.

    Args:
        parts: the data.
        views: which views of an image are averaged.
        seed: draws the rows to train on where there are more than `logistic_regression.MAX_ROWS`.
        encoders: keys of those whose embeddings it reads; None for all.

    Returns:
        Probabilities (N, C) on the test part; a class without training rows has 0.
    """
    rows = lr.draw(np.arange(len(parts.train)), seed)
    keys = parts.train.features.arrays.keys() if encoders is None else encoders
    train, targets = (
        lr.embeddings(parts.train, rows, views, keys),
        parts.train.targets.numpy()[rows],
    )
    val = lr.embeddings(parts.val, np.arange(len(parts.val)), views, keys)
    test = lr.embeddings(parts.test, np.arange(len(parts.test)), views, keys)

    def fit(penalty: float) -> Any:
        return lr.fit(train, targets, penalty)

    def score(model: Any) -> float:
        found = headline(parts.val.targets.numpy(), model.predict(val), len(parts.labels))
        return found["macro_f1"]

    with ThreadPoolExecutor(cores()) as pool:
        models = list(pool.map(fit, lr.PENALTIES if len(val) else (1e-2,)))
        best = max(models, key=score) if len(val) else models[0]
        return lr.probabilities(best, test, len(parts.labels))


def write(folder: Path, found: Mapping[str, Floats]) -> None:
    """Writes the probabilities (N, C) on the test part by name, of `NAMES`; there may be none."""
    arrays = {name: np.ascontiguousarray(each, dtype=np.float64) for name, each in found.items()}
    write_bytes(folder / _FILE, safetensors.numpy.save(arrays))


def read(folder: Path, samples: int) -> dict[str, Floats]:
    """Reads what `write` wrote, in the order of `NAMES`.

    Args:
        folder: `data/baselines`.
        samples: of the test part.

    Raises:
        UserError: no such file, a damaged one, or one of another test part.
    """
    path = folder / _FILE
    again = "run `dvc repro train_baselines`"
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: {again}") from None
    except safetensors.SafetensorError as error:
        raise UserError(f"{path}: damaged ({error}): delete it and {again}") from None
    found = {name: arrays[name] for name in NAMES if name in arrays}
    for name, each in found.items():
        if len(each) != samples:
            raise UserError(
                f"{path}: {name}: {len(each)} rows, but the test part has {samples}: {again}"
            )
    return found


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays one."""
    out: NDArray[np.float32] = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return out
