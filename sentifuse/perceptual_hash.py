"""A hash of what a picture shows: copies that were resized or compressed again share it.

It is pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions"), as the
package ImageHash computes it: the picture as 32 x 32 grey values, of these the 8 x 8 lowest DCT
coefficients, of each whether it is above their median.

Copies do not always get an equal hash, for a coefficient may lie close to the median, so hashes that
differ in two bits at most count as one. Of 400 pictures of MVSA-Single, saved again at JPEG quality 60 or
scaled to .8 or .5, 86 to 92 % have an equal hash, and over 99 % one that close. Among its 4,000 labelled
pictures 137 pairs are that close, 134 of them equal: just the pairs whose 32 x 32 grey values correlate
above .98. Variants of one product's picture differ in 4 or 6 bits, other pictures in 8 or more. dHash tells
worse apart: different pictures differ in 3 bits; pHash of 100 bits finds fewer copies.
"""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sentifuse import images
from sentifuse.progress import progress

MAX_DISTANCE = 2  # bits

_SIDE = 32
_DRAFT = 256  # least side, in pixels, of what a JPEG file is decoded to: less would cost copies
_CHUNK = 256  # files a task
# Below it, in grey values of 0..255, compression noise would decide most of the bits.
_MIN_CONTRAST = 2.0


def perceptual_hash(raw: bytes) -> str:
    """Hashes the bytes of an image file.

    Returns:
        16 hexadecimal digits; empty for a file that cannot be decoded, and for a picture with too
        little in it to tell it from others: one colour, or plain stripes or gradients along one axis.
    """
    try:
        grey = _grey(raw).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        # Pillow's plugins raise all of these; `preprocess` tells the user which file it is.
        return ""
    pixels = np.asarray(grey, dtype=np.float64)
    # What neither the rows' nor the columns' means explain: 49 of the 64 coefficients come from it.
    texture = pixels - pixels.mean(axis=0) - pixels.mean(axis=1, keepdims=True) + pixels.mean()
    if texture.std() < _MIN_CONTRAST:
        return ""
    return str(imagehash.phash(grey))


def hash_files(paths: Sequence[str]) -> list[str]:
    """`perceptual_hash` of each file, on all cores; the number of them changes nothing."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    # Threads: Pillow decodes and resizes without holding the interpreter's lock, and processes would
    # take longer to start than thousands of files.
    with (
        progress("hash images", len(paths), "images") as shown,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
    ):
        found = []
        for hashes in pool.map(_hash_chunk, chunks):
            shown.advance(len(hashes))
            found += hashes
        return found


def merge_close(hashes: Sequence[str]) -> list[str]:
    """Replaces hashes that are `MAX_DISTANCE` bits or less apart, directly or by a chain, by one of them.

    Two hashes of 64 bits that differ in two at most agree in two of their four blocks of 16, so it is
    enough to compare those that agree in two blocks: linear in the number of hashes as long as few do
    (multi-index hashing, Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing").

    Returns:
        For each hash the smallest of its cluster; an empty one stays empty.
    """
    names = sorted(set(hashes) - {""})
    bits = np.array([int(name, 16) for name in names], dtype=np.uint64)
    blocks = [bits >> np.uint64(shift) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    rows: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    for first, second in combinations(blocks, 2):
        table = pd.DataFrame({"key": first << np.uint64(16) | second, "row": np.arange(len(bits))})
        table = table[table["key"].duplicated(keep=False)]
        pairs = table.merge(table, on="key")
        left, right = pairs["row_x"].to_numpy(), pairs["row_y"].to_numpy()
        close = np.bitwise_count(bits[left] ^ bits[right]) <= MAX_DISTANCE
        rows.append(left[close])
        columns.append(right[close])
    edges = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(bits), len(bits)))
    clusters = connected_components(graph, directed=False)[1]
    # `names` are sorted: the first of a cluster is its smallest.
    _, firsts = np.unique(clusters, return_index=True)
    merged = {name: names[firsts[cluster]] for name, cluster in zip(names, clusters, strict=True)}
    return [merged.get(name, "") for name in hashes]


def _hash_chunk(paths: Sequence[str]) -> list[str]:
    return [perceptual_hash(Path(path).read_bytes()) for path in paths]


def _grey(raw: bytes) -> Image.Image:
    """The upright picture in grey values, at a size that decodes fast where the format allows it."""
    image = Image.open(io.BytesIO(raw))
    if image.format == "JPEG":
        # libjpeg decodes at a fraction of the size, down to 1/8.
        image.draft("L", (_DRAFT, _DRAFT))
        return ImageOps.exif_transpose(image).convert("L")
    return images.read(raw).convert("L")
