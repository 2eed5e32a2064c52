"""Which instructions the numeric libraries use: those that give the same bytes everywhere, or the fastest.

Every library chooses the order of a sum, and so its last digits, by the processor. `portable` holds them to
AVX2, which x86-64 processors have had since 2013, and MKL to its one mode that is the same on all of them.
`docs/portability.md` has how that was checked, and what it costs.
"""

import json
import os
import platform
from pathlib import Path
from typing import Literal

Numerics = Literal["portable", "native"]

# The libraries read these when they are imported.
_PORTABLE = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions and linear layers
    "MKL_CBWR": "COMPATIBLE",  # torch's other products; by AVX2 it sums otherwise on Intel than on AMD
    "OPENBLAS_CORETYPE": "Haswell",  # numpy's and scipy's products
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",  # numpy's other kernels: no more than AVX2
}


def hold(numerics: Numerics) -> None:
    """Lets this process, and those that it starts, compute as `numerics` says.

    To be called before numpy or torch is imported. A processor that is not x86-64 has no AVX2 to be held to:
    there `portable` does nothing.
    """
    if numerics == "portable" and platform.machine() in ("x86_64", "AMD64"):
        os.environ.update(_PORTABLE)


def hold_as_trained(bundle: Path) -> None:
    """Lets this process compute as the training of a bundle did, so that the same figures come out.

    If the folder `bundle` cannot be read nothing happens here: `bundle.load` says what is wrong.
    """
    try:
        config = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
        hold(config["encoding"]["setting"].get("numerics", "native"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def settings() -> dict[str, str]:
    """The part of the environment that decides on instructions, for processes on other machines."""
    return {name: os.environ[name] for name in _PORTABLE if name in os.environ}
