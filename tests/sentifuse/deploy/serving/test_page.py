"""The page in a real browser, on a real server with a tiny model."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import uvicorn
from PIL import Image

from sentifuse.deploy.pairs import Prediction
from sentifuse.deploy.predictor import Predictor
from sentifuse.deploy.serving.app import create_app
from sentifuse.deploy.serving.limits import Limits
from tests.bundles import make_bundle

if TYPE_CHECKING:
    from tools.browser import Browser

LIMITS = Limits(
    upload_bytes=50_000, pixels=10_000, text_characters=200, seconds=20, workers=1, queue=8
)
TEXT = "what a <script>alert(1)</script> good day"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(make_bundle(tmp_path_factory.mktemp("page")), max_pixels=LIMITS.pixels)


@pytest.fixture(scope="module")
def address(predictor: Predictor) -> Iterator[str]:
    """A server on a free port of this machine."""
    app = create_app(predictor, LIMITS)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "holiday <b>.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def text_of(browser: "Browser", css: str) -> str:
    [element] = browser.find(css)
    return element.text


def ask(browser: "Browser", image: Path | None = None, text: str = "") -> None:
    if image is not None:
        browser.find("#image")[0].send_keys(str(image))
    browser.find("#text")[0].clear()
    browser.find("#text")[0].send_keys(text)
    browser.find("#go")[0].click()


def check_shown(browser: "Browser", found: Prediction) -> None:
    """The page shows just what the model says."""
    verdict = f"{found.label}, {100 * found.confidence:.1f} %"
    assert text_of(browser, "#verdict") == verdict
    shown = [item.text.splitlines() for item in browser.find("#probabilities li")]
    assert shown == [
        [label, f"{100 * share:.1f} %"] for label, share in found.probabilities.items()
    ]
    assert text_of(browser, "#probabilities li.best .name") == found.label
    added = {"text": found.text_contribution, "image": found.image_contribution}
    expected = [
        [name, f"{100 * value:+.1f} points".replace("-", "\u2212")]
        if name in found.used
        else [name, "silent"]
        for name, value in added.items()
    ]
    shown = [item.text.splitlines() for item in browser.find("#contributions li")]
    assert shown == expected
    assert text_of(browser, "#heard").startswith(verdict)


def check_quiet(browser: "Browser", address: str, predictions: int) -> None:
    """Nothing was asked of any other server, and nothing went wrong."""
    assert browser.network_requests() == [
        f"{address}/", f"{address}/health", *[f"{address}/predict"] * predictions
    ]  # fmt: skip
    assert browser.console_errors() == []
    assert browser.console_warnings() == []


def test_a_picture_and_a_text_are_read(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    assert not browser.find("#go")[0].is_enabled()
    ask(browser, picture, TEXT)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(picture, TEXT))
    answer = httpx2.post(
        f"{address}/predict", files={"image": picture.read_bytes()}, data={"text": TEXT}
    )
    check_shown(browser, Prediction(**answer.json()))
    assert text_of(browser, "#name") == picture.name
    assert text_of(browser, "#spoke").startswith("The ")
    assert browser.find("#preview")[0].is_displayed()
    check_quiet(browser, address, 1)


def test_bars_are_as_long_as_the_figures_say(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    ask(browser, picture, TEXT)
    browser.wait("#result:not([hidden])")
    time.sleep(0.5)  # the bars grow
    found = predictor.predict(picture, TEXT)
    script = """
        const share = (bar) => bar.getBoundingClientRect().width / bar.parentNode.clientWidth;
        return [...document.querySelectorAll(".bar")].map(share);
    """
    shown = browser.driver.execute_script(script)
    contributions = [found.text_contribution, found.image_contribution]
    expected = [*found.probabilities.values(), *(abs(each) / 2 for each in contributions)]
    np.testing.assert_allclose(shown, expected, atol=0.01)


def test_one_of_the_two_is_enough(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    ask(browser, picture)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(picture))
    assert text_of(browser, "#spoke") == "Only the image spoke."
    browser.find("#clear")[0].click()
    assert not browser.find("#go")[0].is_enabled()
    ask(browser, text=TEXT)
    end = time.monotonic() + 10
    while text_of(browser, "#spoke") != "Only the text spoke." and time.monotonic() < end:
        time.sleep(0.05)
    check_shown(browser, predictor.predict(text=TEXT))
    check_quiet(browser, address, 2)


def test_what_is_wrong_is_told_and_mended(browser: "Browser", address: str, tmp_path: Path) -> None:
    browser.open(address + "/")
    large, many, fake = tmp_path / "large.png", tmp_path / "many.png", tmp_path / "fake.png"
    large.write_bytes(bytes(60_000))
    Image.new("1", (200, 200)).save(many)
    fake.write_bytes(b"<img src=x onerror=alert(1)>")
    browser.wait("#text[maxlength]")  # now the page knows the limits
    browser.find("#image")[0].send_keys(str(large))
    assert text_of(browser, "#alert").startswith("The picture has 0.1 MB; at most")
    for path, message in ((many, "200 x 200 pixels, more than 10000"), (fake, "none of JPEG")):
        ask(browser, path)
        browser.wait("#alert:not([hidden])")
        assert message in text_of(browser, "#alert")
    browser.find("#clear")[0].click()
    assert not browser.find("#alert")[0].is_displayed()


def test_it_works_by_keyboard_and_every_control_has_a_name(
    browser: "Browser", address: str, predictor: Predictor
) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(address + "/")
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if not node["ignored"] and node.get("name", {}).get("value")
    }
    assert ("textbox", "Text") in named
    assert ("button", "Read the sentiment") in named
    assert any(name.startswith("Choose a picture") for _, name in named), named
    box = browser.find("#text")[0]
    box.send_keys("good day", Keys.CONTROL, Keys.ENTER)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(text="good day"))


@pytest.mark.parametrize("width", [320, 390, 760, 1200])
def test_nothing_sticks_out_at_any_width(
    browser: "Browser", address: str, picture: Path, width: int
) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(address + "/")
        ask(browser, picture, "g" * 120)
        browser.wait("#result:not([hidden])")
        script = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
        wanted, there = browser.driver.execute_script(script)
        assert wanted == there
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_policy_stops_what_the_page_does_not_need(browser: "Browser", address: str) -> None:
    browser.open(address + "/")
    blocked = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1], found = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          found.push(event.effectiveDirective);
          if (found.length === 3) done(found.sort());
        });
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        fetch("http://localhost:1/").catch(() => {});
        const image = document.createElement("img");
        image.src = "http://localhost:1/x.png";
        document.body.append(image);
        """
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert browser.driver.execute_script("return window.ran === undefined")
