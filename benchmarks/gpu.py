"""What a GPU gives: extraction and stage 2 beside plain loops on the same GPU, an experiment beside the CPU.

    python -m benchmarks --only gpu

It runs where torch finds a GPU; its short form, which only shows that it works, runs everywhere. CLIP
ViT-B/32 is in full size with random weights; files, batches and references are those of `extraction` and
`training`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import extraction, training
from benchmarks.measurement import Measurement, side_by_side, times_as_fast
from sentifuse.config.recipe import Recipe, Stage1, Stage2
from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.errors import UserError
from sentifuse.features import selection
from sentifuse.features.encoding import Setting
from sentifuse.features.engines import local
from sentifuse.features.selection import Wanted
from sentifuse.runtime import devices, precision
from sentifuse.runtime.threads import cores
from sentifuse.training.trial import run_trial
from tools.clip_folder import make_clip_folder

_PART = "gpu"
_BATCH = 128  # images, which fill a GPU


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Runs everything, in its short form on a tiny model, a handful of files and maybe the processor.

    Raises:
        UserError: there is no GPU, and it is not the short form.
    """
    from transformers import CLIPModel

    device = devices.kind()
    if device == "cpu" and not short:
        raise UserError("benchmarks: gpu: torch finds no GPU here: run it where there is one")
    devices.prepare(device)
    folder = make_clip_folder(work / "clip", full_size=not short)
    low = precision.of_training("auto", device)
    rounds = 1 if short else 5
    encoder = registry.load(str(folder), "text")
    whole: Any = CLIPModel.from_pretrained(folder)
    whole.to(device)
    layers = 1 if short else 12
    return [
        _files(folder, work, device, low, short),
        _pixels(folder, whole, device, low, rounds),
        _stage2(encoder, whole, device, low, 1, rounds, target=20.0),
        _stage2(encoder, whole, device, low, layers, rounds, target=1.0),
        _experiment(encoder, device, low, short),
    ]


def _files(folder: Path, work: Path, device: str, low: Any, short: bool) -> Measurement:
    """Images from files to rows of the store."""
    rng = np.random.default_rng(0)
    items = [extraction.picture(work / f"{n}.jpg", rng) for n in range(8 if short else 2048)]
    views = ViewSpec(scale_min=1.0, flip=False, jitter=0.0)
    setting = Setting("float16", _BATCH, 8, views, device=device, numerics="native")
    wanted = [Wanted("image", [str(folder)], [0])]
    encoders = selection.load(wanted, None)
    [record] = selection.records(encoders, wanted, tokens=False, precision=low)
    reference = extraction.Reference(folder, device)
    with local.start(record, setting, cores()) as pool:
        seconds = extraction.seconds_per_sample(
            {
                "ours": (partial(extraction.encode, pool, record, work=work), items),
                # Four batches of the loop take as long as all of ours.
                "loop": (partial(reference.images, autocast=low != "fp32"), items[: 4 * _BATCH]),
            },
            rounds=1 if short else 3,
            warm=0 if short else 1,
        )
    return _line(
        f"images from files, ViT-B/32, {low}", "a serial loop of CLIPModel", seconds, "loop", 2.0
    )


def _pixels(folder: Path, whole: Any, device: str, low: str, rounds: int) -> Measurement:
    """Images that are on the device: what the encoder itself can do, beside CLIP's own vision model."""
    encoder: AnyEncoder = registry.load(str(folder), "image", low, device)
    side = whole.config.vision_config.image_size
    pixels = torch.randn(_BATCH, 3, side, side, device=device)
    model = whole.vision_model

    def ours() -> None:
        with torch.inference_mode():
            encoder.encode(pixels, 0, tokens=False)
        _wait(device)

    def theirs() -> None:
        half = torch.autocast(device, torch.bfloat16, enabled=low == "bf16")
        with torch.inference_mode(), half:
            model(pixel_values=pixels)
        _wait(device)

    seconds = side_by_side({"ours": ours, "limit": theirs}, rounds=4 * rounds, warm=2)
    each = {name: [time / _BATCH for time in times] for name, times in seconds.items()}
    return _line(
        f"images on the device, ViT-B/32, {low}", "CLIP's vision model alone", each, "limit", 0.9
    )


def _line(
    what: str, reference: str, seconds: dict[str, list[float]], of: str, target: float
) -> Measurement:
    ours, theirs = (1 / float(np.median(seconds[name])) for name in ("ours", of))
    ratio = times_as_fast(seconds["ours"], seconds[of])
    return Measurement(_PART, what, reference, ours, theirs, "images/s", ratio, target)


def _stage2(
    encoder: AnyEncoder,
    whole: Any,
    device: str,
    low: str,
    layers: int,
    rounds: int,
    *,
    target: float,
) -> Measurement:
    # A call also makes the model and loads its weights: many steps, so that these count for little.
    steps = {"ours": 20 * rounds, "whole model": 10 * rounds}
    own, head = training.ours(encoder, layers, low, 1, steps["ours"], device)
    theirs = training.whole_model(whole, head, low, steps["whole model"], layers)
    runs: dict[str, Callable[[], None]] = {"ours": own, "whole model": theirs}
    seconds = side_by_side(runs, rounds=rounds)
    what = f"stage 2, text layers: {layers}, {low}"
    return training.beside_whole_model(_PART, what, seconds, steps, target)


def _experiment(encoder: AnyEncoder, device: str, low: Any, short: bool) -> Measurement:
    """Both stages, with prediction, on the device and on the processor."""
    samples, layers = (64, 1) if short else (1600, 3)
    tail = encoder.tail(layers)
    made = training.make_parts(samples, encoder.embedding_dim, encoder.token_dim, dict(tail.config))
    parts = replace(made, val=made.train, test=made.train)
    stage1 = Stage1(**training.COMMON, epochs=1 if short else 10, batch_size=64, precision="fp32")
    stage2 = Stage2(
        **training.COMMON, epochs=1 if short else 2, batch_size=32, precision="auto",
        restart_head=True, members=1, lr_clip=1e-4, layer_decay=1.0, encoder_dropout=0.1,
        threads=2,
    )  # fmt: skip
    recipe = Recipe(
        "concat", "multimodal", training.HEAD, training.LOSS, training.VIEWS, stage1, stage2
    )
    weights = {training.TEXT: tail.weights}
    runs: dict[str, Callable[[], object]] = {
        name: partial(run_trial, recipe, parts, weights, seed=0, device=each)
        for name, each in (("ours", device), ("processor", "cpu"))
    }
    seconds = side_by_side(runs, rounds=1, warm=0)  # the steps before have warmed the device
    return Measurement(
        part=_PART,
        what=f"both stages, {samples:,} samples, text layers: {layers}",
        reference="the same on the processor",
        ours=seconds["ours"][0],
        theirs=seconds["processor"][0],
        unit="s",
        ratio=times_as_fast(seconds["ours"], seconds["processor"]),
        target=None,
    )


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
