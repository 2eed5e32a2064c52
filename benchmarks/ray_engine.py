"""The engine `ray` beside the engine `local`: the same files, the same cores, in turn.

Ray has a simulated cluster: two nodes on this machine that share its cores. The encoder is CLIP ViT-B/32
cut to four layers, with random weights; images are JPEGs of 640 x 480 in a tar file. The time of a shard is
that of its file: from the moment when each worker has written one, an engine is in steady state; before, it
starts.
"""

import io
import logging
import os
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.measurement import Measurement
from sentifuse.data import locations
from sentifuse.data.images import ViewSpec
from sentifuse.errors import UserError
from sentifuse.features import selection
from sentifuse.features.encoding import Item, Setting
from sentifuse.features.engines import local
from sentifuse.features.engines import registry as engines
from sentifuse.features.selection import Wanted
from sentifuse.features.store.space import Space
from sentifuse.runtime.files import read_json, sha256, write_json
from tools.clip_folder import make_clip_folder

_SETTING = Setting("float16", 16, 8, ViewSpec(1.0, False, 0.0), "cpu", "native")
_PART = "ray"


@dataclass(frozen=True)
class _Run:
    """Images a second in steady state, and the seconds to the first shard."""

    rate: float
    start: float


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Compares both engines in turn; without Ray there is nothing to tell."""
    try:
        import ray
    except ImportError:
        print("ray: not installed (requirements-ray.txt): left out", file=sys.stderr)
        return []
    backbone = make_clip_folder(work / "clip")
    if not short:
        _grow(backbone)
    images = _images(work / "images.tar", 16 if short else 768)
    # Smaller shards than a run's: more of them in little time, and more of what a task costs Ray.
    local.SHARD_SIZE["image"] = 4 if short else 64
    wanted = [Wanted("image", [str(backbone)], [0])]
    encoders = selection.load(wanted, None)
    [record] = selection.records(encoders, wanted, tokens=False, precision="fp32")
    runs: dict[str, list[_Run]] = {"local": [], "ray": []}
    shards: dict[str, list[str]] = {}
    for number in range(1 if short else 3):
        for engine in runs:
            store = work / f"{engine}-{number}"
            with _two_nodes() if engine == "ray" else _no_cluster() as address:
                space = Space(store, "images")
                began = time.time()
                with engines.opened(engine, address) as opened:
                    opened.encode(record, _SETTING, images, space)
            runs[engine].append(_timed(space, began))
            shards[engine] = sorted(path.name for path in space.folder.iterdir())
        ray.shutdown()
    if shards["ray"] != shards["local"]:
        raise UserError("benchmarks.ray_engine: the engines have written different shards")
    return [
        _line("images, steady state", "images/s", runs, "rate", 0.9),
        _line("seconds to the first shard", "s", runs, "start", None),
    ]


def _line(
    what: str, unit: str, runs: dict[str, list[_Run]], name: str, target: float | None
) -> Measurement:
    pairs = [
        (getattr(ray, name), getattr(here, name))
        for ray, here in zip(runs["ray"], runs["local"], strict=True)
    ]
    return Measurement(
        part=_PART,
        what=what,
        reference="the local engine on the same cores",
        ours=median(ours for ours, _ in pairs),
        theirs=median(theirs for _, theirs in pairs),
        unit=unit,
        ratio=median(ours / theirs for ours, theirs in pairs),
        target=target,
        better="more" if target else "less",
    )


def _timed(space: Space, began: float) -> _Run:
    written = sorted(path.stat().st_mtime for path in space.folder.glob("*.safetensors"))
    workers = min(len(os.sched_getaffinity(0)), len(written) - 1)
    steady = written[-1] - written[workers - 1]
    count = (len(written) - workers) * local.SHARD_SIZE["image"]
    return _Run(rate=count / max(steady, 1e-3), start=written[0] - began)


@contextmanager
def _no_cluster() -> Iterator[None]:
    yield None


@contextmanager
def _two_nodes() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    cores = len(os.sched_getaffinity(0))
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": cores - cores // 2, "include_dashboard": False},
    )
    if cores > 1:
        nodes.add_node(num_cpus=cores // 2)
    try:
        yield nodes.address
    finally:
        nodes.shutdown()


def _grow(folder: Path) -> None:
    """Puts a vision tower of ViT-B/32's widths, four layers deep, into a tiny CLIP's folder."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig.from_pretrained(folder)
    for name, value in {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 4,
        "image_size": 224,
        "patch_size": 32,
    }.items():
        setattr(config.vision_config, name, value)
    CLIPModel(config).save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    size = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    write_json(path, {**read_json(path), **size})


def _images(path: Path, count: int) -> list[Item]:
    """Packs pictures into a tar file, as a million pairs would come."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
            raw = io.BytesIO()
            coarse.resize((640, 480), Image.Resampling.BICUBIC).save(raw, "jpeg", quality=90)
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = raw.tell()
            raw.seek(0)
            tar.addfile(member, raw)
    with tarfile.open(path) as tar:
        places = [
            locations.in_tar(path, member.offset_data, member.size) for member in tar.getmembers()
        ]
    return [Item(sha256(locations.read(place)), place, 0) for place in places]
