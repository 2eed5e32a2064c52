"""Where the project and the real data stand; the tests pass without the latter, too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = ROOT.parent / "shared" / "data" / "mvsa"


def on_real_data(test: Callable[..., Any]) -> Any:
    """Marks a test that reads all of them: seconds, so it is no unit test, and it is skipped without them."""
    without = pytest.mark.skipif(not REAL_DATA.is_dir(), reason="no real data beside this checkout")
    return pytest.mark.pipeline(without(test))
