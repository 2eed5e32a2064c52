import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sentifuse.runtime import numerics, process

# As stages have it, before anything imports numpy or torch. `SENTIFUSE_NATIVE=1 pytest tests/sentifuse` tests
# the library with all that the processor at hand can do; what compares with stages needs what stages have.
process.one_thread()
numerics.hold("native" if os.environ.get("SENTIFUSE_NATIVE") else "portable")

if TYPE_CHECKING:
    from tools.browser import Browser


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    from tests.chromium import start  # selenium is for the few tests that ask for it

    browser = start(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium: "Browser") -> "Browser":
    """A headless Chromium, one per process of pytest-xdist: `tools/browser.py`. Skips where there is none."""
    return _chromium
