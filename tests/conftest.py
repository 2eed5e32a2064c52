from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sentifuse import threads

# As the stages do: tests run in several processes, which must not spin on each other's cores.
threads.wait_passively()

if TYPE_CHECKING:
    from tests.browser import Browser


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    from tests.browser import start  # selenium is for the few tests that ask for it

    browser = start(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def browser(_chromium: "Browser") -> "Browser":
    """A headless Chromium, one a worker: `tests/browser.py`. Skips where there is none."""
    return _chromium
