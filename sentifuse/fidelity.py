"""How close embeddings in a lower precision come to those in float32, on a sample of the data at hand."""

import heapq
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sentifuse.backbones.interface import Backbone
from sentifuse.encoding import Item, Modality, Setting, space_name
from sentifuse.engines import local
from sentifuse.features import Array
from sentifuse.store import Space

# Samples of each modality that are encoded both ways.
SAMPLE = 64
# What bf16 keeps of CLIP's embeddings; below it, something is lost that a model may miss.
ENOUGH = 0.9999


@dataclass(frozen=True)
class Encoders:
    """The encoders that the embeddings come from, and where their rows are kept.

    Attributes:
        name: of the backbone, as in `registry.load`.
        revision: of the backbone.
        backbone: the encoders, in whichever precision.
        setting: what a row holds.
        store: root of the feature store.
    """

    name: str
    revision: str | None
    backbone: Backbone
    setting: Setting
    store: Path


def least_cosine(
    encoders: Encoders,
    modality: Modality,
    keys: Iterable[str],
    paths: "pd.Series[str]",
    folder: Path,
) -> float:
    """The least cosine between an embedding and the one that float32 gives, over up to `SAMPLE` samples.

    Random weights tell little of trained ones: their embeddings are all much alike.

    Args:
        encoders: what encoded.
        modality: what the embeddings are of.
        keys: of the N rows in the store, empty for a sample without this modality.
        paths: their files.
        folder: `data/features`, where the embeddings are.

    Returns:
        -1..1, to six decimals; 1 if they are in float32.
    """
    if encoders.setting.precision == "fp32":
        return 1.0
    rows = draw(keys)
    if not rows:
        return 1.0
    plain = replace(encoders.setting, precision="fp32", image_split=0, text_split=0, tokens=False)
    # Kept like all others: the next run finds them.
    space = Space(encoders.store, space_name(modality, encoders.backbone, plain))
    items = [Item(key, paths.iloc[row], 0) for key, row in rows.items()]
    local.encode(encoders.name, encoders.revision, plain, modality, items, space)
    cosines = [1.0]
    embeddings = np.load(folder / f"{modality}_embeddings.npy", mmap_mode="r")  # (N, D), (N, V, D)
    for key, exact in space.rows(set(rows)):
        cosines.append(cosine(exact["embedding"][0], np.atleast_2d(embeddings[rows[key]])[0]))
    return round(min(cosines), 6)


def draw(keys: Iterable[str]) -> dict[str, int]:
    """Key -> row of up to `SAMPLE` rows: those with the least keys, hashes, which is as good as chance."""
    least = heapq.nsmallest(SAMPLE, ((key, row) for row, key in enumerate(keys) if key))
    return dict(least)


def report(precision: str, cosines: Mapping[Modality, float]) -> dict[str, Any]:
    """What `metrics/features.json` holds; a cosine below `ENOUGH` is told on stderr."""
    for modality, least in cosines.items():
        if least < ENOUGH:
            print(
                f"backbone.precision: {precision}: the least cosine of {modality} embeddings to float32 is "
                f"{least}, expected {ENOUGH} or more: compare with a run of backbone.precision=fp32",
                file=sys.stderr,
            )
    return {"precision": precision, "least_cosine_to_fp32": dict(cosines)}


def cosine(a: Array, b: Array) -> float:
    """Of the angle between two vectors (D,)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
