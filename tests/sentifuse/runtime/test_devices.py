"""Tests of the choice of devices, with a `torch.cuda` that pretends; there is no GPU where they run."""

import pytest
import torch

from sentifuse.errors import UserError
from sentifuse.runtime import devices

GIB = 2**30


def pretend(monkeypatch: pytest.MonkeyPatch, *free_gib: float) -> None:
    """GPUs with so much free memory each."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free_gib))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free_gib))
    free = [int(each * GIB) for each in free_gib]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda gpu: (free[gpu], 80 * GIB))


def test_without_a_gpu_every_worker_is_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    assert devices.kind() == "cpu"
    assert devices.of_workers("cpu", 3) == ["cpu"] * 3


def test_workers_are_dealt_to_the_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 40, 40)
    assert devices.kind() == "cuda"
    assert devices.of_workers("cuda", 5) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert devices.of_workers("cuda", 1) == ["cuda:0"]


def test_no_gpu_gets_more_workers_than_it_has_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 5, 13, 1)
    assert devices.of_workers("cuda", 8) == ["cuda:0", "cuda:1", "cuda:1", "cuda:1"]


def test_no_room_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1.5, 0.2)
    with pytest.raises(
        UserError, match=r"GPU: 1\.5 GiB are free, a worker takes 4: .*CUDA_VISIBLE"
    ):
        devices.of_workers("cuda", 2)


def test_a_gpu_computes_float32_as_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    monkeypatch.setattr(cudnn, "deterministic", False)
    devices.prepare("cpu")
    assert (cudnn.allow_tf32, cudnn.deterministic) == (True, False)
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    devices.prepare("cuda:1")
    assert (cudnn.allow_tf32, cudnn.deterministic) == (False, True)
    devices.prepare("cuda")
    assert chosen == ["cuda:1"]


def test_auto_takes_a_gpu_unless_the_bytes_are_to_be_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, 80)
    assert devices.choose("auto", "native") == "cuda"
    assert devices.choose("cuda", "native") == "cuda"
    assert devices.choose("cpu", "native") == "cpu"
    assert devices.choose("auto", "portable") == "cpu"
    pretend(monkeypatch)
    assert devices.choose("auto", "native") == "cpu"


def test_a_gpu_that_cannot_be_had_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    with pytest.raises(UserError, match=r"^device: cuda: torch finds no GPU here: set device=auto"):
        devices.choose("cuda", "native")
    pretend(monkeypatch, 80)
    with pytest.raises(UserError, match=r"^device: cuda: no GPU gives the bytes .*numerics=native"):
        devices.choose("cuda", "portable")


def test_a_process_is_made_ready_for_what_it_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    monkeypatch.setattr(devices, "prepare", prepared.append)
    pretend(monkeypatch, 80)
    assert devices.ready("auto", "native") == "cuda"
    assert prepared == ["cuda"]
