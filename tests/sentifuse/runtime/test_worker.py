"""Tests of what a worker process is set up like."""

import subprocess
import sys


def test_a_worker_has_one_thread_whatever_its_parent_has() -> None:
    code = (
        "import torch; torch.set_num_threads(2)\n"
        "from sentifuse.runtime import worker; worker.start()\n"
        "print(torch.get_num_threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
