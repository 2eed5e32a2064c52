import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from sentifuse.runtime import precision
from sentifuse.runtime.precision import Precision

CLIP = "openai/clip-vit-base-patch32"


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the processor one with just the instructions that are named."""

    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    def pretend(*names: str) -> None:
        found = {"avx512_bf16": False, "sse4_2": True} | dict.fromkeys(names, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)

    return pretend


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bf16_on_a_processor_that_computes_in_it(
    instructions: str, processor: Callable[..., None]
) -> None:
    processor(instructions)
    assert precision.resolve("auto") == "bf16"


def test_auto_is_fp32_on_any_other_processor(processor: Callable[..., None]) -> None:
    processor("avx512_fp16", "avx2")
    assert precision.resolve("auto") == "fp32"


@pytest.mark.parametrize(
    ("held_to", "expected"),
    [("AVX2", "fp32"), ("avx2", "fp32"), ("AVX512_CORE_BF16", "bf16"), ("", "bf16")],
)
def test_auto_does_not_count_on_instructions_that_the_libraries_are_kept_from(
    held_to: str,
    expected: str,
    processor: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor("avx512_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", held_to)
    assert precision.resolve("auto") == expected


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp16")])
def test_auto_on_a_gpu_is_bf16_or_else_fp16(
    has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert precision.resolve("auto", "cuda") == expected


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_named_is_taken_and_bundled_is_always_fp32(
    device: str, processor: Callable[..., None]
) -> None:
    processor("avx512_bf16")
    assert precision.of_backbone("auto", "bundled", device) == "fp32"
    named: list[Precision] = ["fp32", "bf16", "fp16"]
    for each in named:
        assert precision.of_backbone(each, CLIP, device) == each


def test_bundled_refuses_what_it_does_not_know() -> None:
    for name in ("bundled", CLIP):
        precision.check("auto", name)
        precision.check("fp32", name)
    precision.check("bf16", CLIP)
    with pytest.raises(
        ValueError, match=r"precision 'fp16': the backbone 'bundled' knows 'fp32' only"
    ):
        precision.check("fp16", "bundled")


def test_a_precision_without_instructions_is_said_to_be_slow(
    processor: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    processor("avx512_bf16")
    precision.warn_if_slow("stage2.precision", "auto")
    precision.warn_if_slow("stage2.precision", "bf16")
    precision.warn_if_slow("stage2.precision", "fp32")
    precision.warn_if_slow("backbone.precision", "fp16", "cuda")
    assert capsys.readouterr().err == ""
    precision.warn_if_slow("backbone.precision", "fp16")
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("backbone.precision: fp16: this processor has no instructions")


def test_checking_params_does_not_import_torch() -> None:
    code = (
        "import sys; from sentifuse.runtime import precision; precision.check('bf16', 'x'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
