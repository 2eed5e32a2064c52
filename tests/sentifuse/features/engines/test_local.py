"""Tests of the local engine; `tests/pipeline` runs it with real processes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.config.backbone import Modality
from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.features.encoding import Item, Setting
from sentifuse.features.engines import local
from sentifuse.features.key_table import KeyTable
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices
from tests.sentifuse.features.test_encoding import record_of
from tests.serial_pool import SerialPool
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

# Also where a test puts something else in its place.
load = registry.load
SETTING = Setting("float16", 4, 2, ViewSpec(0.5, True, 0.0), "cpu", "native")


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


def encode(
    name: str,
    items: Sequence[Item],
    space: Space,
    setting: Setting = SETTING,
    precision: str = "fp32",
) -> None:
    """Encodes texts with the encoder `name`, embeddings alone."""
    encoder = load(name, "text")
    record = record_of(encoder, "text", name=name, split=0, tokens=False, precision=precision)
    local.encode(record, setting, items, space)


def embeddings(space: Space) -> dict[str, np.ndarray]:
    keys = {key for shard in space.shards() for key in shard.keys}
    wanted = sorted(keys)
    found = space.rows(KeyTable(wanted))
    return {wanted[places[0]]: row["embedding"] for places, row in found}


def test_workers_encode_in_the_precision_of_the_record(
    clip: str, items: list[Item], tmp_path: Path
) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        space = Space(tmp_path / "store", precision)
        encode(clip, items, space, precision=precision)
        found[precision] = embeddings(space)
        assert len(found[precision]) == len(items)
    for key, exact in found["fp32"].items():
        assert not np.array_equal(found["bf16"][key], exact)
        np.testing.assert_allclose(found["bf16"][key], exact, rtol=0.1, atol=0.05)


def test_a_gpu_takes_the_same_way(
    clip: str, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none here: the second of two that pretend is the processor under another name."""
    loaded: list[str] = []
    prepared: list[str] = []

    def load_here(name: str, modality: Modality, precision: str, device: str) -> Any:
        loaded.append(device)
        return load(name, modality, precision)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: ((gpu * 9) * 2**30, 0))
    monkeypatch.setattr(registry, "load", load_here)
    monkeypatch.setattr(devices, "prepare", prepared.append)
    space, plain = Space(tmp_path / "store", "gpu"), Space(tmp_path / "store", "cpu")
    encode(clip, items, space, replace(SETTING, device="cuda"))
    assert loaded == prepared == ["cuda:1"]
    encode(clip, items, plain)
    assert loaded == prepared == ["cuda:1", "cpu"]
    assert embeddings(space).keys() == embeddings(plain).keys()
    for key, row in embeddings(plain).items():
        assert np.array_equal(row, embeddings(space)[key])


def test_a_few_samples_are_shared_out_among_all_cores(
    clip: str, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda: 2)
    space = Space(tmp_path / "store", "space")
    encode(clip, items, space)
    assert sorted(len(shard.keys) for shard in space.shards()) == [2, 3]
    # What is there is not encoded again, and nobody is started for nothing.
    monkeypatch.setattr(local, "ProcessPoolExecutor", None)
    encode(clip, items, space)


def test_a_worker_loads_the_encoder_of_its_record_and_no_other(
    clip: str, items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mpnet = str(make_encoder_folder("mpnet", tmp_path / "mpnet"))
    loaded: list[tuple[str, Modality]] = []

    def load_here(name: str, modality: Modality, precision: str, device: str) -> Any:
        loaded.append((name, modality))
        return load(name, modality, precision, device)

    monkeypatch.setattr(registry, "load", load_here)
    found = {}
    for name in (clip, mpnet):
        space = Space(tmp_path / "store", Path(name).name)
        encode(name, items, space)
        found[name] = embeddings(space)
    assert loaded == [(clip, "text"), (mpnet, "text")]
    assert {row.shape for row in found[clip].values()} == {(1, 16)}
    assert {row.shape for row in found[mpnet].values()} == {(1, 24)}


def test_progress_names_the_encoder(
    clip: str, items: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode(clip, items, Space(tmp_path / "store", "space"))
    assert f"encode texts: {clip}: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("numerics", ["portable", "native"])
def test_what_is_to_be_the_same_everywhere_is_encoded_on_the_processor(
    numerics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "kind", lambda: "cuda")
    device = "cpu" if numerics == "portable" else "cuda"
    assert local.place("fp16", numerics, "auto") == (device, "fp16")
    assert local.place("fp16", numerics, "cpu") == ("cpu", "fp16")
