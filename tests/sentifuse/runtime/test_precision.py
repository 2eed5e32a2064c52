import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from sentifuse.config.backbone import Modality, Precision
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.runtime import precision


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


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_gradients_are_never_in_float16(
    has_bf16: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert precision.of_training("auto", "cuda") == expected
    assert precision.of_training("bf16", "cuda") == "bf16"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_named_is_taken(device: str, processor: Callable[..., None]) -> None:
    processor("avx512_bf16")
    named: list[Precision] = ["fp32", "bf16", "fp16"]
    for each in named:
        assert precision.resolve(each, device) == each


@pytest.mark.parametrize(
    ("name", "modality"), [("minilm-l6", "text"), ("efficientnet-lite0", "image")]
)
def test_an_encoder_that_knows_float32_only_refuses_what_it_does_not_know(
    name: str, modality: Modality
) -> None:
    assert not registry.load(name, modality, "fp32").lowers
    with pytest.raises(UserError) as caught:
        registry.load(name, modality, "fp16")
    expected = f"'fp16': backbone.{modality}: {name!r} knows 'fp32' only, which 'auto' gives"
    assert str(caught.value) == f"backbone.precision: {expected}"


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
        "import sys; from sentifuse.runtime import precision; precision.resolve('bf16'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
