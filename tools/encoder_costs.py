"""Measures what encoders cost on one core of this machine: the table of docs/encoders.md.

    python -m tools.encoder_costs image efficientnet-lite0 efficientnet-lite2 FOLDER
    python -m tools.encoder_costs text minilm-l6 data/encoders/all-mpnet-base-v2

Prints a row of Markdown for each: layers, width of the embedding, millions of weights, seconds to load, and
inputs per second of CPU time: images in batches of 16, texts of 24 tokens in batches of 8.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from sentifuse.config.backbone import Modality
from sentifuse.runtime import numerics, process

_BATCH = {"image": 16, "text": 8}
_TOKENS = 24


def row(modality: Modality, name: str) -> str:
    """One row of the table."""
    import torch

    from sentifuse.encoders import registry

    start = time.perf_counter()
    encoder: Any = registry.load(name, modality)
    seconds = time.perf_counter() - start
    size = _BATCH[modality]
    if modality == "image":
        side = encoder.spec.crop
        given = torch.randn(size, 3, side, side)
    else:
        [ids] = encoder.tokenize(["good day " * _TOKENS])
        given = torch.tensor([ids[:_TOKENS]] * size)
    split = min(3, encoder.layers)
    rate = size / _seconds(lambda: encoder.encode(given, split, tokens=True))
    # Those in float32; what encodes may be a copy.
    held = (vars(encoder).get(name) for name in ("_exact_stem", "_exact", "_model"))
    parts = [part for part in held if isinstance(part, torch.nn.Module)]
    weights = {id(value): value.numel() for part in parts for value in part.parameters()}
    millions = sum(weights.values()) / 1e6
    cells = [
        f"`{name}`",
        encoder.layers,
        encoder.embedding_dim,
        f"{millions:.0f}",
        f"{seconds:.1f}",
    ]
    return "| " + " | ".join(map(str, [*cells, f"{rate:.0f} {modality}s/s"])) + " |"


def _seconds(call: Callable[[], object], times: int = 9) -> float:
    """The median CPU time of a call."""
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return median(found)


if __name__ == "__main__":
    numerics.hold("portable")
    process.one_thread()
    for each in sys.argv[2:]:
        print(row("image" if sys.argv[1] == "image" else "text", each), flush=True)
