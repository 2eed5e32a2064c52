"""The library leaves the program that uses it as it is: only entry points set a process up."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bundles import make_bundle
from tools.closure import ROOT

pytestmark = pytest.mark.pipeline

# A program with settings of its own; it prints those that prediction has changed.
_PROGRAM = """
import gc, logging, os, signal, sys, warnings
import torch

torch.set_num_threads(2)
warnings.filterwarnings("error", message="mine")
signal.signal(signal.SIGTERM, lambda number, frame: None)
gc.set_threshold(701)
logging.getLogger("transformers").setLevel(logging.INFO)

def settings():
    import huggingface_hub.utils.logging
    import transformers.utils.logging
    return {
        "threads": torch.get_num_threads(),
        "interop threads": torch.get_num_interop_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "warnings": list(warnings.filters),
        "signals": [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)],
        "environment": dict(os.environ),
        "garbage": (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()),
        "logging": transformers.utils.logging.get_verbosity(),
        "bars": transformers.utils.logging.is_progress_bar_enabled(),
        "hub": huggingface_hub.utils.logging.get_verbosity(),
        "seed": torch.initial_seed(),
        "folder": os.getcwd(),
    }

# Their imports add filters of their own.
import PIL.Image, pandas, scipy.optimize, scipy.sparse, sympy, transformers
import numpy as np
before = settings()
from sentifuse.predictor import Predictor
predictor = Predictor.load(sys.argv[1])
found = predictor.predict(image=sys.argv[2], text="a good day")
assert abs(sum(found.probabilities.values()) - 1) < 1e-9
after = settings()
print([name for name in before if before[name] != after[name]])
print([name for name in ("sentifuse.runtime.process",) if name in sys.modules])
"""


def test_predicting_changes_nothing_of_the_program(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 50), "red").save(tmp_path / "a.png")
    command = [sys.executable, "-c", _PROGRAM, str(make_bundle(tmp_path)), str(tmp_path / "a.png")]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n[]\n", done.stderr


def test_importing_the_library_changes_nothing_either() -> None:
    code = (
        "import gc, json, os, sys, warnings\n"
        "import numpy, pandas, torch, PIL.Image, matplotlib, sklearn\n"
        "before = [dict(os.environ), list(warnings.filters), gc.get_threshold(), torch.get_num_threads()]\n"
        "import importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "after = [dict(os.environ), list(warnings.filters), gc.get_threshold(), torch.get_num_threads()]\n"
        "assert before == after, (before, after)\n"
    )
    paths = sorted((ROOT / "sentifuse").rglob("*.py"))
    names = [
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in paths
        if path.stem not in ("__init__", "__main__") and "serving" not in path.parts
    ]
    assert len(names) > 60
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
