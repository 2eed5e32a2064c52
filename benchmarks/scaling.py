"""Does it grow? Time and peak memory of the stages for 1k, 10k and 100k pairs, and training on a million.

The pairs are small JPEG files and short texts, the backbone is a tiny CLIP with random weights, so that the
figures show what a pair costs apart from its encoding. Each stage runs as DVC runs it, in a process of its
own. Training is on cached embeddings that are drawn at random.
"""

import io
import json
import os
import random
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from benchmarks import peak_memory
from benchmarks.measurement import Measurement
from benchmarks.peak_memory import Run
from sentifuse.config.backbone import MODALITIES
from sentifuse.features.schema import EncoderMeta, Meta
from sentifuse.runtime.files import write_json, write_text
from tools.clip_folder import make_clip_folder

ROOT = Path(__file__).resolve().parents[1]
SIZES, SHORT_SIZES = (1_000, 10_000, 100_000), (60, 90)
STAGES = ("split", "preprocess", "infer")
# `split` holds the table of all samples: its growth is told only.
MEMORY_TARGETS = {"split": None, "preprocess": 1.2, "infer": 1.2}
SAMPLES, SHORT_SAMPLES = 1_000_000, 400
DIM = 512

_LABELS = ("negative", "neutral", "positive")
# To train a model that `infer` can use; all other pairs are to be predicted.
_LABELLED = 48
_WORDS = (
    "the",
    "good",
    "bad",
    "day",
    "cat",
    "went",
    "out",
    "with",
    "my",
    "very",
    "own",
    "happy",
    "sad",
)
_PARAMS: dict[str, Any] = {
    "unfreeze_text_layers": 1,
    "backbone": {"tokens": False},
    "augment": {"views": 0},
    "image_views": {"train": "plain", "predict": "plain"},
    "stage1": {"epochs": 1},
    "stage2": {"epochs": 1},
}
_ROWS_A_WRITE = 10_000


@dataclass(frozen=True)
class Point:
    """One stage on so many pairs."""

    stage: str
    pairs: int
    run: Run


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """The stages on growing data, and stage 1 on a million samples."""
    points = series(work / "stages", SHORT_SIZES if short else SIZES)
    write_json(work / "series.json", [asdict(point) for point in points])
    return [*growth(points), *training(work / "training", SHORT_SAMPLES if short else SAMPLES)]


def series(work: Path, sizes: Sequence[int]) -> list[Point]:
    """Time and peak memory of `STAGES` for each size, for a figure; the sizes ascend."""
    work.mkdir(parents=True)
    backbone = make_clip_folder(work / "clip")
    write_pairs(work / "pairs", max(sizes))
    points: list[Point] = []
    model: Path | None = None
    for pairs in sizes:
        project = work / str(pairs)
        root = project / "raw"
        _label(root, pairs)
        # Links into the folder of the largest size: the files are the same.
        (root / "data").mkdir()
        for number in range(pairs):
            for suffix in (".jpg", ".txt"):
                os.link(work / "pairs" / f"{number}{suffix}", root / "data" / f"{number}{suffix}")
        _params(
            project,
            _PARAMS
            | {"backbone": {"image": str(backbone), "text": str(backbone), "tokens": False}},
        )
        points += [_point("split", pairs, project), _point("preprocess", pairs, project)]
        if model is None:
            for stage in ("train_stage1", "train_stage2"):
                _stage(stage, project)
            model = project / "models"
        else:
            shutil.copytree(model, project / "models")
        points.append(_point("infer", pairs, project))
    return points


def growth(points: Iterable[Point]) -> list[Measurement]:
    """What a stage takes for the most pairs beside what it takes for fewer."""
    found: list[Measurement] = []
    for stage in STAGES:
        own = sorted((p for p in points if p.stage == stage), key=lambda point: point.pairs)
        least, middle, most = own[0], own[-2], own[-1]
        a_pair = [1e3 * each.run.seconds / each.pairs for each in (most, middle)]
        found += [
            Measurement(
                part="memory",
                what=f"{stage}, {most.pairs:,} pairs, peak of all processes",
                reference=f"{least.pairs:,} pairs",
                ours=most.run.own,
                theirs=least.run.own,
                unit="MiB",
                ratio=most.run.own / least.run.own,
                target=MEMORY_TARGETS[stage],
                better="less",
            ),
            Measurement(
                part="memory",
                what=f"{stage}, {most.pairs:,} pairs, time a pair",
                reference=f"{middle.pairs:,} pairs",
                ours=a_pair[0],
                theirs=a_pair[1],
                unit="ms",
                ratio=a_pair[0] / a_pair[1],
                target=1.2,
                better="less",
            ),
        ]
    return found


def training(work: Path, samples: int) -> list[Measurement]:
    """Stage 1 for one epoch on `samples` cached pairs of 512 + 512 dimensions, beside a tenth of them."""
    runs = {}
    for count in (samples // 10, samples):
        project = work / str(count)
        write_features(project / "data" / "features", count, DIM)
        _split_table(project / "data" / "splits.csv", count)
        _params(project, _PARAMS)
        runs[count] = _stage("train_stage1", project)
        shutil.rmtree(project / "data")
    most, least = runs[samples], runs[samples // 10]
    size = 2 * samples * DIM * 4 / 2**20
    what = f"stage 1, one epoch of {samples:,} samples of {DIM} + {DIM}"
    a_sample = [1e6 * run.seconds / count for count, run in runs.items()]
    return [
        Measurement(
            part="memory",
            what=f"{what}, own peak",
            reference="its features",
            ours=most.own,
            theirs=size,
            unit="MiB",
            ratio=most.own / size,
            target=None,
            better="less",
        ),
        Measurement(
            part="memory",
            what=f"{what}, growth of own peak a sample",
            reference="a sample's features",
            ours=(most.own - least.own) * 2**20 / (samples - samples // 10),
            theirs=2 * DIM * 4,
            unit="bytes",
            ratio=(most.own - least.own) / (0.9 * size),
            target=None,
            better="less",
        ),
        Measurement(
            part="memory",
            what=f"{what}, time a sample, start included",
            reference=f"{samples // 10:,} samples",
            ours=a_sample[1],
            theirs=a_sample[0],
            unit="µs",
            ratio=a_sample[1] / a_sample[0],
            target=1.2,
            better="less",
        ),
    ]


def write_pairs(folder: Path, pairs: int) -> None:
    """Writes `pairs` JPEG files of 64 x 64 pixels, each another picture, and short texts."""
    folder.mkdir(parents=True)
    words, pixels = random.Random(0), np.random.default_rng(0)
    for number in range(pairs):
        coarse = Image.fromarray(pixels.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        raw = io.BytesIO()
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(raw, "jpeg", quality=80)
        (folder / f"{number}.jpg").write_bytes(raw.getvalue())
        said = " ".join(words.choices(_WORDS, k=words.randint(4, 16)))
        (folder / f"{number}.txt").write_text(f"{said} {number}")


def write_features(folder: Path, samples: int, dim: int) -> None:
    """Writes embeddings, drawn at random, in the schema of `sentifuse.features.schema`."""
    rng = np.random.default_rng(0)
    for modality in MODALITIES:
        path = folder / f"{modality}_net" / "embeddings.npy"
        path.parent.mkdir(parents=True)
        array = np.lib.format.open_memmap(
            path, mode="w+", dtype=np.float32, shape=(samples, 1, dim)
        )
        for start in range(0, samples, _ROWS_A_WRITE):
            rows = array[start : start + _ROWS_A_WRITE]
            rows[:] = rng.standard_normal(rows.shape, dtype=np.float32)
    write_text(folder / "guids.txt", "".join(f"{number:07}\n" for number in range(samples)))
    encoders = tuple(
        EncoderMeta(f"{modality}_net", modality, dim, dim, tail=None, fingerprint=modality)
        for modality in MODALITIES
    )
    digests: dict[str, dict[str, str]] = {each.key: {} for each in encoders}
    write_json(folder / "meta.json", {**asdict(Meta(1, encoders)), "digests": digests})


def _label(root: Path, pairs: int) -> None:
    lines = [f"{n},{_LABELS[n % 3] if n < _LABELLED else 'null'}\n" for n in range(pairs)]
    write_text(root / "train.txt", "guid,tag\n" + "".join(lines[:_LABELLED]))
    write_text(root / "test_without_label.txt", "guid,tag\n" + "".join(lines[_LABELLED:]))


def _split_table(path: Path, samples: int) -> None:
    lines = ["guid,label,split,group\n"]
    for number in range(samples):
        part = "val" if number % 20 == 0 else "train"
        lines.append(f"{number:07},{_LABELS[number % 3]},{part},{number:07}\n")
    write_text(path, "".join(lines))


def _params(project: Path, changes: Mapping[str, Any]) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    document["data"]["root"] = "raw"
    write_text(project / "params.yaml", yaml.safe_dump(document, sort_keys=False))


def _point(stage: str, pairs: int, project: Path) -> Point:
    point = Point(stage, pairs, _stage(stage, project))
    print(json.dumps(asdict(point)), file=sys.stderr, flush=True)
    return point


def _stage(stage: str, project: Path) -> Run:
    env = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    env |= {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return peak_memory.measure([sys.executable, "-m", f"stages.{stage}"], project, env)
