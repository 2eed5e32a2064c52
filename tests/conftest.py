import os
from collections.abc import Iterator
from pathlib import Path
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


_TIERS = {"unit", "pipeline", "browser", "servers", "cluster"}
_CHAIN = ("benchmarks", "pipeline", "stages")  # folders whose tests run stages, DVC or git


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its tier, so that `pytest -m unit` runs what needs none of the others."""
    for item in items:
        marked = {mark.name for mark in item.iter_markers()}
        if "long" in marked or marked & _TIERS:
            continue
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        elif item.path.relative_to(Path(__file__).parent).parts[0] in _CHAIN:
            item.add_marker("pipeline")
        else:
            item.add_marker("unit")
