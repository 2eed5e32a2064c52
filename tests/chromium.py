"""The browser of the tests, on machines with and without one."""

import os
from pathlib import Path

import pytest

from tools.browser import Browser

REQUIRED = "SENTIFUSE_REQUIRE_BROWSER"


def start(profile: Path) -> Browser:
    """A `Browser`; skips the test where there is no Chromium, unless `$SENTIFUSE_REQUIRE_BROWSER` is set."""
    try:
        return Browser(profile)
    except FileNotFoundError as error:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{error} ({REQUIRED} is set)")
        pytest.skip(str(error))
