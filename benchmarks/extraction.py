"""Extraction: files to embeddings with CLIP ViT-B/32, beside a plain serial loop over `CLIPModel`.

Same files, same run. Both sides have loaded their model before the clock starts; what that takes is a line
of its own. Images are JPEGs of 640 x 480 of seeded noise on several scales; texts are of the tests' few
words, drawn to be as long as tweets are: 4 to 60 tokens, 20 in the mean.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measurement import Measurement, side_by_side, times_as_fast
from sentifuse import fidelity, precision
from sentifuse.backbones import registry
from sentifuse.encoding import Item, Modality, Setting, encode_shard
from sentifuse.engines import local
from sentifuse.images import ViewSpec
from sentifuse.store import Space
from tests.clip_folder import make_clip_folder

_BATCH = 32  # of the reference
_PART = "extraction"
_COMPARED = 64  # samples of each modality
_WORDS = {"mean": 18.0, "sd": 8.0}  # of a text; each is one token, start and end come on top


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Runs everything, in its short form on a tiny model and a handful of files."""
    folder = make_clip_folder(work / "clip", full_size=not short)
    counts = {"image": 8, "text": 16} if short else {"image": 512, "text": 4096}
    rng = np.random.default_rng(0)
    items: dict[Modality, list[Item]] = {
        "image": [_picture(work / f"{n}.jpg", rng) for n in range(counts["image"])],
        "text": [_tweet(work / f"{n}.txt", rng) for n in range(counts["text"])],
    }
    low = precision.resolve("auto", str(folder), "cpu")
    setting = Setting(0, 0, False, "float16", 16, 8, ViewSpec(1.0, False, 0.0), precision=low)
    reference = Reference(folder)
    rounds, warm = (1, 0) if short else (3, 1)

    def ours(modality: Modality) -> Callable[[], None]:
        def run() -> None:
            space = Space(Path(tempfile.mkdtemp(dir=work)), "space")
            local.run(pool, setting, modality, items[modality], space)
            shutil.rmtree(space.folder.parent)

        return run

    with local.start(str(folder), None, setting, torch.get_num_threads()) as pool:
        images = side_by_side(
            {
                "ours": ours("image"),
                "bf16": lambda: reference.images(items["image"][:128], _autocast()),
                "fp32": lambda: reference.images(items["image"][:64], nullcontext()),
            },
            rounds=rounds,
            warm=warm,
        )
        texts = side_by_side(
            {
                "ours": ours("text"),
                "bf16": lambda: reference.texts(items["text"][:256], _autocast()),
            },
            rounds=rounds,
            warm=warm,
        )
    for seconds, modality, parts in (
        (images, "image", {"bf16": 128, "fp32": 64}),
        (texts, "text", {"bf16": 256}),
    ):
        parts = {"ours": counts[modality], **parts}
        for name in seconds:
            seconds[name] = [each / min(parts[name], counts[modality]) for each in seconds[name]]
    loop = "CLIPModel and its image processor, a serial loop"
    return [
        _speed(f"images, ViT-B/32, {low}", f"{loop}, bf16 autocast", images, "bf16", 1.6),
        _speed(f"images, ViT-B/32, {low}", f"{loop}, fp32", images, "fp32", 4.0),
        _speed(f"texts, ViT-B/32, {low}", "padded to 77, bf16 autocast", texts, "bf16", 3.5),
        *_cosines(folder, setting, items),
        _start_up(folder, setting, items["text"][0], work),
    ]


class Reference:
    """What one writes first: a loop over batches of files, with torch's own number of threads."""

    def __init__(self, folder: Path) -> None:
        """Loads model, image processor and tokenizer."""
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self._model: Any = CLIPModel.from_pretrained(folder).eval()
        self._processor: Any = CLIPImageProcessor.from_pretrained(folder)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def images(self, items: list[Item], context: AbstractContextManager[Any]) -> Any:
        """(N, D) float32."""
        found = []
        with context:  # once, so that autocast casts each weight once
            for first in range(0, len(items), _BATCH):
                paths = [item.path for item in items[first : first + _BATCH]]
                pictures = [Image.open(path).convert("RGB") for path in paths]
                pixels = self._processor(images=pictures, return_tensors="pt")
                found.append(self._model.get_image_features(**pixels).pooler_output.float())
        return torch.cat(found).numpy()

    @torch.inference_mode()
    def texts(self, items: list[Item], context: AbstractContextManager[Any]) -> Any:
        """(N, D) float32."""
        found = []
        with context:
            for first in range(0, len(items), _BATCH):
                paths = [item.path for item in items[first : first + _BATCH]]
                texts = [Path(path).read_text(encoding="utf-8") for path in paths]
                ids = self._tokenizer(
                    texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
                )
                found.append(self._model.get_text_features(**ids).pooler_output.float())
        return torch.cat(found).numpy()


def _autocast() -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16)


def _speed(
    what: str, reference: str, seconds: dict[str, list[float]], of: str, target: float
) -> Measurement:
    unit = f"{what.partition(',')[0]}/s"
    ratio = times_as_fast(seconds["ours"], seconds[of])
    ours, theirs = (1 / median(seconds[name]) for name in ("ours", of))
    return Measurement(_PART, what, reference, ours, theirs, unit, ratio, target)


def _cosines(
    folder: Path, setting: Setting, items: dict[Modality, list[Item]]
) -> list[Measurement]:
    exact = registry.load(str(folder), None)
    low = registry.load(str(folder), None, setting.precision)
    found = []
    for modality, all_items in items.items():
        sample = all_items[:_COMPARED]
        rows = encode_shard(low, setting, modality, sample)
        exact_rows = encode_shard(exact, setting, modality, sample)
        least = min(
            fidelity.cosine(row["embedding"][0], exact_rows[key]["embedding"][0])
            for key, row in rows.items()
        )
        what = f"least cosine to fp32, {len(sample)} {modality}s, {setting.precision}"
        itself = "fp32 with itself"
        found.append(Measurement(_PART, what, itself, least, 1.0, "", least, 0.9999))
    return found


def _start_up(folder: Path, setting: Setting, item: Item, work: Path) -> Measurement:
    """Seconds until the first text is encoded, by one process each."""
    start = time.perf_counter()
    with local.start(str(folder), None, setting, 1) as pool:
        local.run(pool, setting, "text", [item], Space(work, "first"))
        ours = time.perf_counter() - start
    start = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_first, folder, item).result()
        theirs = time.perf_counter() - start
    return Measurement(
        _PART,
        "start-up, to the first row",
        "imports and loads CLIPModel, processor, tokenizer",
        ours,
        theirs,
        "s",
        ours / theirs,
        None,
        "less",
    )


def _first(folder: Path, item: Item) -> None:
    Reference(folder).texts([item], nullcontext())


def _picture(path: Path, rng: np.random.Generator) -> Item:
    """Noise of all scales, coarse the strongest, as photographs have it; some 60 KB."""
    layers = [
        Image.fromarray(rng.integers(256, size=(3 * 2**n, 4 * 2**n, 3), dtype=np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        for n in range(8)
    ]
    mixed = sum(np.asarray(layer) * 0.5 ** (n + 1) for n, layer in enumerate(layers))
    Image.fromarray(np.uint8(mixed)).save(path, quality=85)
    return Item(path.stem, str(path), 0)


def _tweet(path: Path, rng: np.random.Generator) -> Item:
    count = int(np.clip(rng.normal(_WORDS["mean"], _WORDS["sd"]), 2, 58))
    path.write_text(" ".join(rng.choice(["the", "good", "bad", "day"], count)), encoding="utf-8")
    return Item(path.stem, str(path), 0)
