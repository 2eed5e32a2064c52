"""A page in a real headless Chromium: what it shows, what it requests, and which errors it logs.

    browser = Browser(profile)              # a test uses the fixture `browser` of tests/conftest.py instead
    browser.open(folder / "page.html")      # or an http:// address
    assert len(browser.find(".card")) == 8
    assert browser.network_requests() == []
    assert browser.console_errors() == []

Needs Debian's `chromium` and `chromium-driver`. Tests that run in one process share one Chromium, with its
cookies and its local storage; a server on another port is another origin.
"""

import base64
import json
import shutil
import time
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

# Schemes that read from this machine or from the page itself.
_LOCAL = ("file:", "data:", "blob:", "about:")
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A page sees the same outside world on every machine, none; servers of a test's own do answer.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
# Two frames and an empty queue: what a page does at once after `load` has then been started.
_SETTLE = """
const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0)));
"""


class Browser:
    """One headless Chromium; each `open` starts new lists of requests and of console messages.

    Attributes:
        driver: selenium's own driver, for everything else: clicks, scripts, window size.
    """

    def __init__(self, profile: Path, width: int = 1200, height: int = 900) -> None:
        """Starts it with the empty folder `profile` for its user data and a window in CSS pixels.

        Raises:
            FileNotFoundError: no `chromium` or no `chromedriver` on this machine.
        """
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium")
        for flag in (*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        service = webdriver.ChromeService(executable_path=_program("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(30)
        self._requests: list[str] = []
        self._console: list[tuple[str, str]] = []

    def open(self, page: Path | str) -> None:
        """Opens a file or an address and waits until it has loaded, with its images and scripts."""
        self.driver.get("about:blank")
        self._read_logs()
        self._requests.clear()
        self._console.clear()
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)
        self.driver.execute_async_script(_SETTLE)

    def find(self, css: str) -> list[WebElement]:
        """The elements that match a CSS selector now, in document order."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def wait(self, css: str, count: int = 1, seconds: float = 10) -> list[WebElement]:
        """The elements that match, as soon as there are at least `count`.

        Raises:
            TimeoutError: there are fewer after `seconds`.
        """
        end = time.monotonic() + seconds
        while len(found := self.find(css)) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{css}: {len(found)} of {count} after {seconds:g} s")
            time.sleep(0.05)
        return found

    def requests(self) -> list[str]:
        """The addresses that the page has asked for since `open`, itself first; failed ones too."""
        self._read_logs()
        return list(self._requests)

    def network_requests(self) -> list[str]:
        """`requests` less those that need no network: file:, data:, blob: and about:."""
        return [url for url in self.requests() if not url.startswith(_LOCAL)]

    def console_errors(self) -> list[str]:
        """Uncaught exceptions, failed loads and what went to `console.error` since `open`."""
        return self._of_level("SEVERE")

    def console_warnings(self) -> list[str]:
        """What went to `console.warn` since `open`, and the browser's own warnings."""
        return self._of_level("WARNING")

    def screenshot(self, path: Path) -> None:
        """Writes the whole page, beyond the window's lower edge too, as a PNG."""
        size = self._devtools("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self._devtools(
            "Page.captureScreenshot",
            {"format": "png", "captureBeyondViewport": True, "clip": clip},
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.driver.quit()

    def _of_level(self, level: str) -> list[str]:
        self._read_logs()
        return [message for found, message in self._console if found == level]

    def _devtools(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return dict(self.driver.execute_cdp_cmd(command, arguments))

    def _read_logs(self) -> None:
        """Moves what chromedriver has kept, which it hands out once, to the lists."""
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self._requests.append(event["params"]["request"]["url"])
            elif event["method"] == "Network.webSocketCreated":
                self._requests.append(event["params"]["url"])
        for entry in self.driver.get_log("browser"):
            self._console.append((entry["level"], entry["message"]))


def _program(name: str) -> str:
    # Without a path selenium would look for, and download, a browser of its own.
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no {name}: apt-get install chromium chromium-driver")
    return found
