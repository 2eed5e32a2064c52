"""The precision that encoders and training compute in, and what `auto` is on the machine at hand."""

import os
import sys

from sentifuse.config.backbone import Precision

# What torch calls the instructions on x86 and Arm; on a Mac it has no fast kernels for them.
_INSTRUCTIONS = {
    "bf16": ("avx512_bf16", "amx_bf16", *(("bf16",) if sys.platform == "linux" else ())),
    "fp16": ("avx512_fp16", "amx_fp16", *(("fp16_arith",) if sys.platform == "linux" else ())),
}
# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from using such instructions where they are there.
_WITHOUT = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")


def resolve(precision: Precision, device: str = "cpu") -> str:
    """What `precision` means on `device`, `cpu` or `cuda`: `fp32`, `bf16` or `fp16`.

    `auto` is bfloat16 where the processor or the GPU computes in it, else float16 on a GPU, else float32.
    """
    if precision != "auto":
        return precision
    if device == "cpu":
        return "bf16" if _processor_has("bf16") else "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def of_training(precision: Precision, device: str) -> str:
    """As `resolve`, of a forward pass that gradients go back through: `fp32` or `bf16`.

    Gradients in float16 would need a scaled loss, so where `auto` would be that, training is in float32.
    """
    found = resolve(precision, device)
    return "fp32" if found == "fp16" else found


def warn_if_slow(key: str, precision: str, device: str = "cpu") -> None:
    """Says on stderr if the processor has no instructions for what the `key` of `params.yaml` asks for."""
    if device == "cpu" and precision not in ("auto", "fp32") and not _processor_has(precision):
        print(
            f"{key}: {precision}: this processor has no instructions for it (or `numerics: portable` does "
            "without them), and takes up to nine times as long as in fp32: set auto, unless it has to be",
            file=sys.stderr,
        )


def _processor_has(precision: str) -> bool:
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT:
        return False
    import torch

    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in _INSTRUCTIONS[precision])
