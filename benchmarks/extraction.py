"""Extraction: files to embeddings with CLIP ViT-B/32, beside a plain serial loop over `CLIPModel`.

Same files, same run. Both sides have loaded their model before the clock starts; loading is measured in a
line of its own. Images are JPEGs of 640 x 480 and some 45 KB of seeded noise on all scales; texts consist of
the few words of the tiny CLIP, drawn to be as long as tweets are: 4 to 60 tokens, 21 in the mean.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.measurement import Measurement, side_by_side, times_as_fast
from sentifuse.config.backbone import Modality
from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.features import fidelity, selection
from sentifuse.features.encoding import EncoderRecord, Item, Setting, encode_shard
from sentifuse.features.engines import local
from sentifuse.features.selection import Wanted
from sentifuse.features.store.space import Space
from sentifuse.runtime import precision
from tools.clip_folder import make_clip_folder

_PART = "extraction"
_BATCH = 32  # of the reference
_COMPARED = 64  # samples of each modality whose embeddings are compared
# Our precision and the reference's -> how many times as fast images have to be; ours -> texts.
_TARGETS = {("bf16", "bf16"): 1.6, ("bf16", "fp32"): 4.0, ("fp32", "fp32"): 1.5}
_TEXTS = {"bf16": 3.5, "fp32": 3.0}
_AS = {"bf16": "bf16 autocast", "fp32": "fp32"}
_WORDS = {"mean": 19.5, "sd": 9.0}  # of a text; each is one token, start and end come on top

Seconds = dict[str, list[float]]


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Runs everything, in its short form on a tiny model and a handful of files."""
    folder = make_clip_folder(work / "clip", full_size=not short)
    rng = np.random.default_rng(0)
    items: dict[Modality, list[Item]] = {
        "image": [picture(work / f"{n}.jpg", rng) for n in range(8 if short else 512)],
        "text": [_tweet(work / f"{n}.txt", rng) for n in range(16 if short else 2048)],
    }
    low = precision.resolve("auto")
    views = ViewSpec(scale_min=1.0, flip=False, jitter=0.0)
    setting = Setting("float16", 16, 8, views, device="cpu", numerics="native")
    rounds, warm = (1, 0) if short else (3, 1)
    reference = Reference(folder)
    # What a lower precision is compared with; a processor without one is not asked to emulate it.
    others = ["fp32"] if low == "fp32" else [low, "fp32"]
    name = str(folder)
    wanted = [Wanted("image", [name], [0]), Wanted("text", [name], [0])]
    encoders = selection.load(wanted, None)
    image, text = selection.records(encoders, wanted, tokens=False, precision=low)
    cores = len(os.sched_getaffinity(0))
    with local.start(image, setting, cores) as pool:
        images = seconds_per_sample(
            {
                "ours": (partial(encode, pool, image, work=work), items["image"]),
                **{
                    each: (
                        partial(reference.images, autocast=each != "fp32"),
                        items["image"][: 64 if each == "fp32" else 128],
                    )
                    for each in others
                },
            },
            rounds,
            warm,
        )
    with local.start(text, setting, cores) as pool:
        texts = seconds_per_sample(
            {
                "ours": (partial(encode, pool, text, work=work), items["text"]),
                low: (partial(reference.texts, autocast=low != "fp32"), items["text"][:256]),
            },
            rounds,
            warm,
        )
    loop = "a serial loop of CLIPModel and its image processor"
    return [
        *(
            _speed(
                f"images, ViT-B/32, {low}",
                f"{loop}, {_AS[each]}",
                images,
                each,
                _TARGETS[low, each],
            )
            for each in others
        ),
        _speed(f"texts, ViT-B/32, {low}", f"padded to 77, {_AS[low]}", texts, low, _TEXTS[low]),
        *([] if low == "fp32" else _cosines([image, text], setting, items)),
        _start_up(folder, text, setting, items["text"][0], work),
    ]


class Reference:
    """What one writes first: a loop over batches of files, with a thread per core or on a GPU."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        """Loads model, image processor and tokenizer."""
        from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self._device = device
        self._model: Any = CLIPModel.from_pretrained(folder).eval().to(device)
        self._processor: Any = CLIPImageProcessorPil.from_pretrained(folder)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)

    @torch.inference_mode()
    def images(self, items: list[Item], autocast: bool) -> Any:
        """(N, D) float32."""
        found = []
        with self._context(autocast):
            for first in range(0, len(items), _BATCH):
                paths = [item.path for item in items[first : first + _BATCH]]
                pictures = [Image.open(path).convert("RGB") for path in paths]
                pixels = self._processor(images=pictures, return_tensors="pt")
                pixels = pixels.to(self._device)
                found.append(self._model.get_image_features(**pixels).pooler_output.float())
        return torch.cat(found).cpu().numpy()

    @torch.inference_mode()
    def texts(self, items: list[Item], autocast: bool) -> Any:
        """(N, D) float32."""
        found = []
        with self._context(autocast):
            for first in range(0, len(items), _BATCH):
                paths = [item.path for item in items[first : first + _BATCH]]
                texts = [Path(path).read_text(encoding="utf-8") for path in paths]
                ids = self._tokenizer(
                    texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
                ).to(self._device)
                found.append(self._model.get_text_features(**ids).pooler_output.float())
        return torch.cat(found).cpu().numpy()

    def _context(self, autocast: bool) -> AbstractContextManager[Any]:
        # Around the whole loop: so it casts each weight once.
        return torch.autocast(self._device, torch.bfloat16) if autocast else nullcontext()


def encode(pool: ProcessPoolExecutor, record: EncoderRecord, items: list[Item], work: Path) -> None:
    """Files to rows on the disk."""
    with TemporaryDirectory(dir=work) as store:
        local.run(pool, record, items, len(items), Space(Path(store), "space"))


def seconds_per_sample(
    contestants: dict[str, tuple[Callable[[list[Item]], object], list[Item]]],
    rounds: int,
    warm: int,
) -> Seconds:
    """Each has its own number of samples, enough for a steady state and not more."""
    calls = {name: partial(run, items) for name, (run, items) in contestants.items()}
    found = side_by_side(calls, rounds=rounds, warm=warm)
    return {
        name: [each / len(contestants[name][1]) for each in seconds]
        for name, seconds in found.items()
    }


def _speed(what: str, reference: str, seconds: Seconds, of: str, target: float) -> Measurement:
    unit = f"{what.partition(',')[0]}/s"
    ratio = times_as_fast(seconds["ours"], seconds[of])
    ours, theirs = (1 / median(seconds[name]) for name in ("ours", of))
    return Measurement(_PART, what, reference, ours, theirs, unit, ratio, target)


def _cosines(
    records: Sequence[EncoderRecord], setting: Setting, items: Mapping[Modality, list[Item]]
) -> list[Measurement]:
    found = []
    for record in records:
        sample = items[record.modality][:_COMPARED]
        both = []
        for precision_of in (record.precision, "fp32"):
            encoder = registry.load(record.name, record.modality, precision_of)
            own = replace(record, precision=precision_of)
            both.append(encode_shard(encoder, own, setting, sample))
        rows, exact_rows = both
        least = min(
            fidelity.cosine(row["embedding"][0], exact_rows[key]["embedding"][0])
            for key, row in rows.items()
        )
        what = f"least cosine to fp32, {len(sample)} {record.modality}s, {record.precision}"
        itself = "fp32 with itself"
        found.append(Measurement(_PART, what, itself, least, 1.0, "", least, 0.9999))
    return found


def _start_up(
    folder: Path, record: EncoderRecord, setting: Setting, item: Item, work: Path
) -> Measurement:
    """Seconds until the first text is encoded, by one process each."""
    start = time.perf_counter()
    with local.start(record, setting, 1) as pool:
        local.run(pool, record, [item], 1, Space(work, "first"))
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
    Reference(folder).texts([item], autocast=False)


def picture(path: Path, rng: np.random.Generator) -> Item:
    """Noise of all scales, coarse the strongest, as photographs have it."""
    layers = [  # (480, 640, 3) each
        Image.fromarray(rng.integers(256, size=(3 * 2**n, 4 * 2**n, 3), dtype=np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        for n in range(8)
    ]
    shares = 0.75 ** np.arange(8)
    mixed = np.tensordot(
        shares / shares.sum(), np.stack([np.asarray(layer) for layer in layers]), axes=1
    )
    Image.fromarray(np.uint8(mixed)).save(path, quality=85)
    return Item(path.stem, str(path), 0)


def _tweet(path: Path, rng: np.random.Generator) -> Item:
    count = int(np.clip(rng.normal(_WORDS["mean"], _WORDS["sd"]), 2, 58))
    path.write_text(" ".join(rng.choice(["the", "good", "bad", "day"], count)), encoding="utf-8")
    return Item(path.stem, str(path), 0)
