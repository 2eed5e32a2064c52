"""Tests of which instructions the libraries use."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentifuse.runtime import numerics
from sentifuse.runtime.numerics import Numerics

# Tells what torch, oneDNN and numpy are held to in a fresh process.
_SCRIPT = """
import json, sys
from sentifuse.runtime import numerics
numerics.hold(sys.argv[1])
import numpy, torch
from numpy._core._multiarray_umath import __cpu_features__ as features
beyond = [name for name in ("X86_V4", "AVX512_ICL") if features.get(name)]
print(json.dumps([torch.backends.cpu.get_cpu_capability(), beyond, numerics.settings()]))
"""
x86 = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="not an x86-64 processor"
)


def told(wanted: Numerics) -> tuple[str, list[str], dict[str, str]]:
    held = ("ATEN_", "ONEDNN_", "MKL_", "OPENBLAS_", "NPY_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(held)}
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, wanted], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    capability, beyond, settings = json.loads(done.stdout)
    return capability, beyond, settings


@x86
def test_portable_holds_every_library_to_avx2() -> None:
    capability, beyond, settings = told("portable")
    assert capability == "AVX2"
    assert beyond == []
    assert settings["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert settings["MKL_CBWR"] == "COMPATIBLE"
    assert settings["OPENBLAS_CORETYPE"] == "Haswell"


def test_native_leaves_the_environment_as_it_is() -> None:
    assert told("native")[2] == {}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"encoding": {"setting": {"numerics": "portable"}}}, ["portable"]),
        ({"encoding": {"setting": {}}}, ["native"]),  # a bundle from before there was a choice
        ({"encoding": None}, []),
        (["no bundle"], []),
        (None, []),
    ],
)
def test_a_bundle_tells_how_it_was_trained(
    config: Any, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []
    monkeypatch.setattr(numerics, "hold", held.append)
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    numerics.hold_as_trained(tmp_path)
    assert held == expected


def test_on_another_kind_of_processor_portable_does_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    before = dict(os.environ)
    numerics.hold("portable")
    assert dict(os.environ) == before
