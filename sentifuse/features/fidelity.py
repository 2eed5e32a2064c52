"""How close embeddings in a lower precision come to those in float32, on a sample of the data at hand."""

import heapq
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentifuse.encoders.interface import Backbone
from sentifuse.features.encoding import Item, Modality, Setting, encode_shard
from sentifuse.features.key_table import KeyTable
from sentifuse.features.schema import Array
from sentifuse.features.store.space import Space
from sentifuse.features.store.space_names import space_name
from sentifuse.runtime import finite

# Samples of each modality that are encoded both ways.
SAMPLE = 64
# What bf16 keeps of CLIP's embeddings; below it, something is lost that a model may miss.
ENOUGH = 0.9999


def least_cosine(
    backbone: Backbone,
    setting: Setting,
    modality: Modality,
    samples: Iterable[tuple[str, str]],
    features: Path,
    store: Path,
) -> float:
    """The least cosine between an embedding and the one that float32 gives, over up to `SAMPLE` samples.

    Random weights tell little of trained ones: their embeddings are all much alike.

    Args:
        backbone: the encoders in float32.
        setting: how the features were encoded.
        modality: which of them.
        samples: key in the store and file of each of N samples; empty for one without this modality.
        features: `data/features`.
        store: root of the feature store, which keeps what is encoded here for the next run.

    Returns:
        -1..1, to six decimals; 1 if the features are in float32.

    Raises:
        UserError: a file cannot be encoded, or a cosine is not a number.
    """
    rows = {} if setting.precision == "fp32" else draw(samples)
    if not rows:
        return 1.0
    plain = replace(
        setting, precision="fp32", device="cpu", image_split=0, text_split=0, tokens=False
    )
    space = Space(store, space_name(modality, backbone, plain))
    keys = list(rows)
    # A row that was damaged in the store is not given, and encoded as one that never was there.
    exact = {keys[places[0]]: row for places, row in space.rows(KeyTable(keys))}
    missing = [Item(key, rows[key][1], 0) for key in keys if key not in exact]
    if missing:
        encoded = encode_shard(backbone, plain, modality, missing)
        space.append(encoded)
        exact |= encoded
    embeddings = np.load(features / f"{modality}_embeddings.npy", mmap_mode="r")  # (N[, V], D)
    cosines = np.array(
        [
            cosine(np.atleast_2d(embeddings[rows[key][0]])[0], row["embedding"][0])
            for key, row in exact.items()
        ]
    )
    # The least of some numbers and NaN is a number, or NaN, by their order.
    finite.check(
        cosines,
        [rows[key][1] for key in exact],
        f"cosines of {modality} embeddings in {setting.precision} to those in float32",
        "an embedding is zero or not a number: set backbone.precision=fp32",
    )
    return round(float(cosines.min()), 6)


def draw(samples: Iterable[tuple[str, str]]) -> dict[str, tuple[int, str]]:
    """Key -> row and file of up to `SAMPLE` rows: those with the least keys, hashes, as good as chance."""
    rows = ((key, row, path) for row, (key, path) in enumerate(samples) if key)
    return {key: (row, path) for key, row, path in heapq.nsmallest(SAMPLE, rows)}


def cosine(a: Array, b: Array) -> float:
    """Of the angle between two vectors (D,), -1..1; NaN where one of them is zero or has a NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else float("nan")


def report(precision: str, cosines: Mapping[Modality, float]) -> dict[str, Any]:
    """What `metrics/features.json` holds; a cosine below `ENOUGH` is told on stderr."""
    for modality, least in cosines.items():
        if not least >= ENOUGH:  # also where it is NaN
            print(
                f"backbone.precision: {precision}: the least cosine of {modality} embeddings to float32 is "
                f"{least}, expected {ENOUGH} or more: compare with a run of backbone.precision=fp32",
                file=sys.stderr,
            )
    return {"precision": precision, "least_cosine_to_fp32": dict(cosines)}
