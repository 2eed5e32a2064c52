"""How close embeddings in a lower precision come to those in float32, on a sample of the data at hand."""

import heapq
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentifuse.data.text import TextSpec
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.features.encoding import EncoderRecord, Item, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.key_table import KeyTable
from sentifuse.features.schema import Array
from sentifuse.features.store.space import Space
from sentifuse.runtime import finite

# Samples of each modality that are encoded both ways.
SAMPLE = 64
# bf16 keeps more than this of CLIP's embeddings; below it, something is lost that a model may miss.
ENOUGH = 0.9999


def least_cosine(
    encoder: AnyEncoder,
    record: EncodingRecord,
    own: EncoderRecord,
    items: Iterable[Item],
    features: Path,
    store: Path,
) -> float:
    """The least cosine between an embedding and the one that float32 gives, over up to `SAMPLE` samples.

    Random weights tell little about trained ones: their embeddings are all much alike.

    Args:
        encoder: in float32.
        record: how the features were encoded.
        own: the part of it that is about this encoder.
        items: N, the plain view of each sample; without a key where a sample lacks this modality.
        features: `data/features`.
        store: root of the feature store, which keeps what is encoded here for the next run.

    Returns:
        -1..1, to six decimals; 1 if the features are in float32.

    Raises:
        UserError: a file cannot be encoded, or a cosine is not a number.
    """
    drawn = {} if own.precision == "fp32" else draw(items)
    if not drawn:
        return 1.0
    sample = [item for _, item in drawn.values()]
    exact = _exact_embeddings(encoder, record, own, sample, store)
    embeddings = np.load(features / own.key / "embeddings.npy", mmap_mode="r")  # (N, V, D)
    cosines = np.array(
        [cosine(embeddings[row, 0], exact[item.key]) for row, item in drawn.values()]
    )
    # The minimum of numbers and NaN is a number or NaN, depending on their order.
    finite.check(
        cosines,
        [item.path for item in sample],
        f"cosines of the embeddings of {own.name!r} in {own.precision} to those in float32",
        "an embedding is zero or not a number: set backbone.precision=fp32",
    )
    return round(float(cosines.min()), 6)


def _exact_embeddings(
    encoder: AnyEncoder,
    record: EncodingRecord,
    own: EncoderRecord,
    items: list[Item],
    store: Path,
) -> dict[str, Array]:
    """Key -> embedding (D,) in float32, from the store or encoded now."""
    plain = replace(own, precision="fp32", split=0, tokens=False)
    setting = replace(record.setting, device="cpu")
    space = Space(store, replace(record, setting=setting).space(plain).name)
    found = space.rows(KeyTable(item.key for item in items))
    # The space does not give a row that was damaged, so it is encoded like one that was never there.
    rows = {items[places[0]].key: row for places, row in found}
    missing = [item for item in items if item.key not in rows]
    if missing:
        encoded = encode_shard(encoder, plain, setting, missing)
        space.append(encoded)
        rows |= encoded
    return {key: row["embedding"][0] for key, row in rows.items()}


def draw(items: Iterable[Item]) -> dict[str, tuple[int, Item]]:
    """Key -> position and item of up to `SAMPLE` items: those with the least keys.

    Keys are hashes, so this is as good as chance.
    """
    numbered = ((item.key, row, item) for row, item in enumerate(items) if item.key)
    least = heapq.nsmallest(SAMPLE, numbered, key=lambda each: each[:2])
    return {key: (row, item) for key, row, item in least}


def cosine(a: Array, b: Array) -> float:
    """The cosine of the angle between two vectors (D,), -1..1; NaN if one is zero or has a NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / norms) if norms else float("nan")


def report(encoders: Sequence[EncoderRecord], cosines: Mapping[str, float]) -> dict[str, Any]:
    """What `metrics/features.json` holds; a cosine below `ENOUGH` is told on stderr.

    Args:
        encoders: how each was used.
        cosines: as of `least_cosine`, by key.
    """
    for each in encoders:
        if not cosines[each.key] >= ENOUGH:  # also where it is NaN
            print(
                f"backbone.precision: {each.precision}: the least cosine of {each.name!r} to "
                f"float32 is {cosines[each.key]}, expected {ENOUGH} or more: compare with a run of "
                "backbone.precision=fp32",
                file=sys.stderr,
            )
    found: dict[str, Any] = {}
    for each in encoders:
        found[each.key] = {
            "name": each.name,
            "precision": each.precision,
            "least_cosine_to_fp32": cosines[each.key],
        }
        if isinstance(each.spec, TextSpec):
            found[each.key]["texts"] = each.spec.words()
    return found
