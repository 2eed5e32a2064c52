"""A tiny project to search in: made-up features on disk, and params under which training takes no time."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch

from sentifuse.config import yaml_file
from sentifuse.data import splits
from sentifuse.experiments.search import space
from sentifuse.experiments.search.study import Data, Search
from sentifuse.features.schema import TAIL, Features
from sentifuse.runtime import files
from tests.places import ROOT
from tests.synthetic import LABELS, make_features, tail_weights

SAMPLES = 150


def make_project(folder: Path, features: Features | None = None, **changes: Any) -> None:
    """Writes `params.yaml`, features and split table; dotted keys in `changes` are params."""
    targets = [index % len(LABELS) for index in range(SAMPLES)]
    write_features(features or make_features(targets, noise=0.6), folder / "data/features")
    rows = [
        (str(index), LABELS[target], "train", str(index)) for index, target in enumerate(targets)
    ]
    table = pd.DataFrame(rows, columns=splits.COLUMNS, dtype=str)
    files.write_csv(folder / "data/splits.csv", table)
    files.write_json(folder / "metrics/data.json", {"protocol": {"published": False}})
    document = yaml_file.read(ROOT / "params.yaml")
    short = {
        "split.val_size": 0.2,
        "split.test_size": 0.2,
        "head.hidden_dims": [8],
        "image_views": {"train": "plain", "predict": "plain"},
        "stage1.epochs": 6,
        "stage1.batch_size": 16,
        "stage1.lr_head": 1e-4,
        "stage2.epochs": 2,
        "stage2.threads": 1,
    }
    files.write_json(folder / "params.yaml", space.nested(short | changes, document))


def make_search(folder: Path, text: str, splits_drawn: int = 2) -> Search:
    """A search in the project of `folder` over the space `text`."""
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    found = space.read(path, folder / "params.yaml")
    data = Data(folder / "data/features", folder / "data/splits.csv", LABELS, 0.2, 0.2)
    return Search(found, data, range(1, splits_drawn + 1), 0, folder / "data/search")


def write_features(features: Features, folder: Path) -> None:
    """The files that a search reads."""
    digests: dict[str, dict[str, str]] = {each.key: {} for each in features.meta.encoders}
    files.write_json(folder / "meta.json", {**asdict(features.meta), "digests": digests})
    files.write_json(folder / "encoding.json", {})
    files.write_text(folder / "guids.txt", "".join(f"{guid}\n" for guid in features.guids))
    for encoder in features.meta.encoders:
        own = folder / encoder.key
        own.mkdir(parents=True, exist_ok=True)
        arrays = features.arrays[encoder.key]
        for field in fields(arrays):
            if (array := getattr(arrays, field.name)) is not None:
                np.save(own / f"{field.name}.npy", array)
        assert encoder.tail is not None
        safetensors.torch.save_file(tail_weights(encoder.tail), own / TAIL)
