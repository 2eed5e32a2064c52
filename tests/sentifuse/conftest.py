import sys

import pytest


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Several times faster for matrices as small as these, the more so with xdist's processes."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
