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


# In the order of a run. Ray's tests come first and next to each other, so that one process of pytest-xdist
# starts one cluster for all of them; the quick ones come last, so that both processes end together.
_TIERS = ("cluster", "pipeline", "servers", "browser", "unit")
_CHAIN = ("benchmarks", "pipeline", "stages")  # folders whose tests run stages, DVC or git


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives each test its tier, so that `pytest -m unit` runs what needs no other, and sorts by tier."""
    places = {item: _TIERS.index(_tier(item)) for item in items}
    for item, place in places.items():
        if item.get_closest_marker("long") is None:
            item.add_marker(_TIERS[place])
    items.sort(key=places.__getitem__)


def _tier(item: pytest.Item) -> str:
    """The tier that a test is marked with, or the one of its fixtures and of its folder."""
    for tier in _TIERS:
        if item.get_closest_marker(tier) is not None:
            return tier
    if "browser" in getattr(item, "fixturenames", ()):
        return "browser"
    chain = item.path.relative_to(Path(__file__).parent).parts[0] in _CHAIN
    return "pipeline" if chain else "unit"
