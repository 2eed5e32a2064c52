"""An export beside its bundle: start to first answer, latency, throughput and size.

The model is that of the default params (EfficientNet-Lite0 and MiniLM-L6, three text layers finetuned, eight
views) with random weights behind the encoders. All programs have one thread. Torch can be held to AVX2
(`ONEDNN_MAX_CPU_ISA=AVX2`); onnxruntime's kernels always take the best instructions that the processor has.
"""

import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.measurement import Measurement, side_by_side, times_as_fast
from demo.generate import generate
from sentifuse.data import text
from sentifuse.data.images import ViewSpec
from sentifuse.deploy import bundle, loading
from sentifuse.deploy.exported.files import read_manifest
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.exporting import quantisation, samples, write
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.predictor import Predictor
from sentifuse.deploy.sealed import seal
from sentifuse.features import encoding_record, selection
from sentifuse.features.encoding import Setting
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.schema import EncoderMeta
from sentifuse.features.selection import Wanted
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.runtime.files import read_json, write_text

_WANTED = [
    Wanted("image", ["efficientnet-lite0"], [0]),
    Wanted("text", ["minilm-l6"], [3]),
]
_VIEWS = 8
_SETTING = Setting("float16", 32, 32, ViewSpec(0.4, True, 0.1), "cpu", "portable")


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Start, latency, throughput and size of the export in both precisions, beside the bundle's."""
    torch.set_num_threads(1)
    made = folders(work)
    pairs = samples.made().pairs[: 2 if short else None]
    predictors: dict[str, PairPredictor] = {
        "fp32": ExportedPredictor.load(made["fp32"], threads=1),
        "int8": ExportedPredictor.load(made["int8"], threads=1),
        "torch": Predictor.load(made["torch"]),
    }
    found = _start(work, made, pairs[0], rounds=1 if short else 5)
    found += _latency(predictors, pairs, rounds=1 if short else 40)
    found += _throughput(predictors, pairs, rounds=1 if short else 5)
    return found + _size(made)


def _start(work: Path, folders: dict[str, Path], pair: Pair, rounds: int) -> list[Measurement]:
    picture = work / "a.png"
    picture.write_bytes(bytes(pair.image))  # type: ignore[arg-type]

    def start(folder: Path) -> None:
        command = [sys.executable, "-m", "sentifuse", "predict", "--model", str(folder)]
        options = ["--image", str(picture), "--text", pair.text or ""]
        subprocess.run([*command, *options], check=True, capture_output=True)

    seconds = side_by_side(
        {name: partial(start, folder) for name, folder in folders.items()}, rounds=rounds
    )
    middle = {name: float(np.median(each)) for name, each in seconds.items()}
    return [
        _told(f"start to first answer, {name}", middle[name], middle["torch"], "s", most=1.0)
        for name in ("fp32", "int8")
    ]


def _latency(
    predictors: dict[str, PairPredictor], pairs: Sequence[Pair], rounds: int
) -> list[Measurement]:
    """Of one pair, each time another one."""
    following = {name: iter([*pairs] * (rounds + 1)) for name in predictors}

    def one(name: str) -> None:
        pair = next(following[name])
        predictors[name].predict(pair.image, pair.text)

    seconds = side_by_side({name: partial(one, name) for name in predictors}, rounds=rounds)
    found = []
    for name in ("fp32", "int8"):
        for share in (50, 99):
            ours, theirs = (1000 * np.percentile(seconds[each], share) for each in (name, "torch"))
            found.append(_told(f"latency of one pair, p{share}, {name}", ours, theirs, "ms"))
    return found


def _throughput(
    predictors: dict[str, PairPredictor], pairs: Sequence[Pair], rounds: int
) -> list[Measurement]:
    def all_of(predictor: PairPredictor) -> None:
        deque(predictor.predict_many(pairs), maxlen=0)

    seconds = side_by_side(
        {name: partial(all_of, each) for name, each in predictors.items()}, rounds=rounds
    )
    rates = {name: len(pairs) / float(np.median(each)) for name, each in seconds.items()}
    return [
        Measurement(
            part="export",
            what=f"throughput, {name}",
            reference="the bundle in torch, fp32, one thread each",
            ours=rates[name],
            theirs=rates["torch"],
            unit="pairs/s",
            ratio=times_as_fast(seconds[name], seconds["torch"]),
            target=2.0 if name == "int8" else None,
        )
        for name in ("fp32", "int8")
    ]


def _size(folders: dict[str, Path]) -> list[Measurement]:
    size = {
        name: sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        for name, folder in folders.items()
    }
    return [
        Measurement(
            part="export",
            what="size, int8",
            reference="in fp32; a bundle lacks the frozen layers",
            ours=size["int8"],
            theirs=size["fp32"],
            unit="MiB",
            ratio=size["int8"] / size["fp32"],
            target=None,
            better="less",
        )
    ]


def _told(
    what: str, ours: float, theirs: float, unit: str, most: float | None = None
) -> Measurement:
    """A time; with a bound of its own it is the bound that counts, else the bundle's time."""
    ratio = ours if most is not None else ours / theirs
    reference = "the bundle in torch"
    return Measurement("export", what, reference, ours, theirs, unit, ratio, most, "less")


def folders(work: Path) -> dict[str, Path]:
    """A bundle with random weights, and its exports in both precisions, which no gate has seen."""
    made = {"torch": _bundle(work), "fp32": work / "fp32", "int8": work / "int8"}
    loaded = loading.load(made["torch"])
    for name in ("fp32", "int8"):
        made[name].mkdir()
        backbone = loading.load_backbone(made["torch"], loaded.encoding, None)
        write.write(made[name], loaded, backbone)
    manifest, _ = read_manifest(made["int8"])
    quantisation.quantise(made["int8"], manifest, _drawn(work / "demo"))
    return made


def _drawn(folder: Path) -> list[Pair]:
    """Pairs of the demo data: the noise of those that are made is unlike what encoders were trained on."""
    generate(folder, labelled=30, unlabelled=2, seed=0)
    pictures = [path for path in sorted(folder.glob("data/*")) if path.suffix != ".txt"]
    return [Pair(each, text.decode(each.with_suffix(".txt").read_bytes())) for each in pictures]


def _bundle(work: Path) -> Path:
    backbone = selection.load(_WANTED, None)
    records = selection.records(backbone, _WANTED, True, "fp32")
    metas = [
        EncoderMeta(
            own.key,
            own.modality,
            (encoder := backbone[own.key]).embedding_dim,
            encoder.token_dim,
            encoder.tail(own.split).config if own.split else None,
            encoder.fingerprint,
        )
        for own in records
    ]
    torch.manual_seed(0)
    config = ModelConfig(
        ["negative", "neutral", "positive"], "concat", "multimodal", [256, 64], 0.3, metas
    )
    info = {"predict_views": "mean", "temperature": 1.0}
    folder = work / "bundle"
    checkpoint.save(folder, Classifier(config), info)
    record = EncodingRecord(records, _VIEWS, _SETTING, encoding_record.versions())
    parts = {"format": bundle.FORMAT, "encoding": asdict(record)}
    path = folder / bundle.CONFIG
    write_text(path, seal(read_json(path) | parts))
    return folder
