"""The checks by browser can fail: what a page must not do is seen where a page does it."""

from pathlib import Path

import pytest
from PIL import Image

from tests.chromium import REQUIRED, start
from tools.browser import Browser

CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens


def write(folder: Path, body: str) -> Path:
    page = folder / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'><body>{body}", encoding="utf-8")
    return page


def test_requests_to_the_network_are_seen(browser: Browser, tmp_path: Path) -> None:
    page = write(
        tmp_path,
        f'<img src="{CLOSED}/image.png"><script src="https://cdn.example/late.js"></script>'
        f'<style>body {{ background: url("{CLOSED}/style.png") }}</style>'
        f'<script>fetch("{CLOSED}/fetched"); new WebSocket("ws://127.0.0.1:9/socket")</script>',
    )
    browser.open(page)
    assert set(browser.network_requests()) == {
        f"{CLOSED}/image.png",
        f"{CLOSED}/style.png",
        f"{CLOSED}/fetched",
        "https://cdn.example/late.js",
        "ws://127.0.0.1:9/socket",
    }
    assert any("late.js" in message for message in browser.console_errors())


def test_a_request_made_by_a_later_script_is_seen(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path, f"<script>addEventListener('load', () => fetch('{CLOSED}/x'))</script>")
    browser.open(page)
    assert browser.network_requests() == [f"{CLOSED}/x"]


def test_what_is_on_the_page_or_beside_it_is_no_network(browser: Browser, tmp_path: Path) -> None:
    Image.new("RGB", (3, 2)).save(tmp_path / "dot.png")
    page = write(
        tmp_path, '<img src="dot.png"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    )
    browser.open(page)
    assert page.as_uri() in browser.requests()
    assert (tmp_path / "dot.png").as_uri() in browser.requests()
    assert browser.network_requests() == []


@pytest.mark.parametrize(
    "script",
    [
        "throw new Error('boom')",
        "console.error('boom')",
        "Promise.reject(new Error('boom'))",
    ],
)
def test_errors_are_seen(browser: Browser, tmp_path: Path, script: str) -> None:
    browser.open(write(tmp_path, f"<script>{script}</script>"))
    assert len(browser.console_errors()) == 1
    assert "boom" in browser.console_errors()[0]


def test_warnings_are_seen_and_are_no_errors(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, "<script>console.warn('careful')</script>"))
    assert len(browser.console_warnings()) == 1
    assert "careful" in browser.console_warnings()[0]
    assert browser.console_errors() == []


def test_each_page_starts_afresh(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, f'<img src="{CLOSED}/image.png">'))
    browser.open(write(tmp_path, "<p>quiet</p>"))
    assert browser.network_requests() == []
    assert browser.console_errors() == []


def test_an_element_that_comes_late_is_waited_for(browser: Browser, tmp_path: Path) -> None:
    late = "setTimeout(() => document.body.append(document.createElement('hr')), 300)"
    browser.open(write(tmp_path, f"<script>{late}</script>"))
    assert browser.find("hr") == []
    assert len(browser.wait("hr")) == 1
    with pytest.raises(TimeoutError, match=r"hr: 1 of 2 after 0\.1 s"):
        browser.wait("hr", count=2, seconds=0.1)


def test_a_screenshot_has_the_whole_page(browser: Browser, tmp_path: Path) -> None:
    tall = '<div style="height: 3000px"></div><div style="height: 9px; background: #ff0000"></div>'
    browser.open(write(tmp_path, f"<style>body {{ margin: 0 }}</style>{tall}"))
    browser.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        assert image.height == 3009
        assert image.convert("RGB").getpixel((5, 3004)) == (255, 0, 0)


def test_no_chromium_skips_and_fails_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no chromium: apt-get install"):
        start(tmp_path)
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="no chromium: apt-get install"):
        start(tmp_path)
