"""Tests of the local engine; `tests/pipeline` runs it with real processes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.features import encoding_record
from sentifuse.features.encoding import Item, Setting
from sentifuse.features.engines import local
from sentifuse.features.key_table import KeyTable
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices
from tests.serial_pool import SerialPool
from tools.clip_folder import make_clip_folder

# Also where a test puts something else in its place.
load = registry.load
SETTING = Setting(0, 0, False, "float16", 4, 2, ViewSpec(0.5, True, 0.0))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_clip_folder(tmp_path_factory.mktemp("clip")))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    paths = [tmp_path / f"{number}.txt" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_text("good day " * number, encoding="utf-8")
    return [Item(path.stem, str(path), 0) for path in paths]


def encode(clip: str, setting: Setting, items: list[Item], space: Space) -> None:
    record = encoding_record.of(load(clip, None), clip, None, setting, views=1)
    local.encode(record, "text", items, space)


def embeddings(space: Space) -> dict[str, np.ndarray]:
    keys = {key for shard in space.shards() for key in shard.keys}
    wanted = sorted(keys)
    found = space.rows(KeyTable(wanted))
    return {wanted[places[0]]: row["embedding"] for places, row in found}


def test_workers_encode_in_the_precision_of_the_setting(
    clip: str, items: list[Item], tmp_path: Path
) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        space = Space(tmp_path / "store", precision)
        encode(clip, replace(SETTING, precision=precision), items, space)
        found[precision] = embeddings(space)
        assert len(found[precision]) == len(items)
    for key, exact in found["fp32"].items():
        assert not np.array_equal(found["bf16"][key], exact)
        np.testing.assert_allclose(found["bf16"][key], exact, rtol=0.1, atol=0.05)


def test_a_gpu_takes_the_same_way(
    clip: str, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none here: the second of two that pretend is the processor under another name."""
    loaded, prepared = [], []

    def load_here(name: str, revision: str | None, precision: str, device: str) -> Any:
        loaded.append(device)
        return load(name, revision, precision)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: ((gpu * 9) * 2**30, 0))
    monkeypatch.setattr(local.registry, "load", load_here)
    monkeypatch.setattr(devices, "prepare", prepared.append)
    space, plain = Space(tmp_path / "store", "gpu"), Space(tmp_path / "store", "cpu")
    encode(clip, replace(SETTING, device="cuda"), items, space)
    assert loaded == prepared == ["cuda:1"]
    encode(clip, SETTING, items, plain)
    assert loaded == prepared == ["cuda:1", "cpu"]
    assert embeddings(space).keys() == embeddings(plain).keys()
    for key, row in embeddings(plain).items():
        assert np.array_equal(row, embeddings(space)[key])


def test_a_few_samples_are_shared_out_among_all_cores(
    clip: str, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda: 2)
    space = Space(tmp_path / "store", "space")
    encode(clip, SETTING, items, space)
    assert sorted(len(shard.keys) for shard in space.shards()) == [2, 3]
    # What is there is not encoded again, and nobody is started for nothing.
    monkeypatch.setattr(local, "ProcessPoolExecutor", None)
    encode(clip, SETTING, items, space)
