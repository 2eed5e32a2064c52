"""Explanations as they are shown: which parts get which colour, and what a browser makes of the page."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sentifuse.evaluation import explained, explained_page
from tools.browser import Browser

PREDICTION = {
    "label": "positive", "probabilities": {"negative": 0.1, "neutral": 0.2, "positive": 0.7},
    "confidence": 0.7, "text_contribution": 0.4, "image_contribution": -0.1, "base": 0.4,
    "used": ["image", "text"],
}  # fmt: skip


def document(text: str, words: dict[str, float], grid: list[list[float]]) -> dict[str, Any]:
    """`words` are words of the text in their order, each with what it adds."""
    found, end = [], 0
    for word, value in words.items():
        start = text.index(word, end)
        end = start + len(word)
        found.append({"text": word, "start": start, "end": end, "contribution": value})
    return {"prediction": PREDICTION, "text": text, "words": found, "grid": grid}


def test_a_part_has_the_side_the_shade_and_the_figure_of_what_it_adds() -> None:
    given = document("love  it,no", {"love": 0.2, "it": 0.0002, ",": 0.008, "no": -0.05}, [])
    found = explained.of(given)
    assert "".join(part.text for part in found.text) == "love it,no"
    parts = {part.text: part for part in found.text if part.points}
    assert [(part.side, part.shade, part.points, part.told) for part in parts.values()] == [
        ("for", 1.0, "+20.0", True), ("", 0.0, "+0.0", False), ("", 0.0, "+0.8", False),
        ("against", 0.25, "\u22125.0", False),
    ]  # fmt: skip
    assert [part.text for part in found.strongest] == ["love", "no", ",", "it"]


def test_cells_are_where_they_lie_in_the_picture() -> None:
    found = explained.of(document("", {}, [[0.0, -0.3], [0.1, 0.0]]), (100, 60))
    assert [cell.box for cell in found.cells] == [
        (0, 0, 50, 30), (50, 0, 50, 30), (0, 30, 50, 30), (50, 30, 50, 30)
    ]  # fmt: skip
    assert [cell.side for cell in found.cells] == ["", "against", "for", ""]
    assert found.strongest[0].text == "picture, row 1, column 2"
    assert found.text == []


def test_where_nothing_matters_nothing_has_its_full_colour() -> None:
    [part] = explained.of(document("a", {"a": 0.005}, [])).strongest
    assert part.shade == 0.25


def test_a_long_text_is_cut_and_control_characters_go() -> None:
    words = {f"w{place:04}": 0.1 for place in range(200)}
    found = explained.of(document("\0" + " ".join(words), words, []))
    shown = "".join(part.text for part in found.text)
    assert shown.startswith("w0000 w0001")
    assert shown.endswith("…")
    assert len(shown) <= 501
    assert len(found.strongest) == 200
    assert explained.shortened("So <b>sad</b>\x00\r\n today") == "So <b>sad</b> today"
    assert len(explained.shortened("word " * 200)) == 501


def test_the_page_needs_no_network_and_says_all_in_words(browser: Browser, tmp_path: Path) -> None:
    text = "I <i>love</i> 天气 @you"
    words = {"I": 0.01, "love": 0.3, "天": -0.1, "气": 0.0, "@you": 0.0}
    given = document(text, words, [[0.2, 0.0], [-0.25, 0.1]])
    Image.new("RGB", (800, 600), "green").save(tmp_path / "a.png")
    explained_page.write(tmp_path / "a.html", given, tmp_path / "a.png")
    browser.open(tmp_path / "a.html")
    assert browser.console_errors() == browser.network_requests() == []
    assert browser.find("h1")[0].text == "positive, 70.0 %"
    assert [mark.text for mark in browser.find("p.text mark")] == ["love+30.0", "天"]
    [picture] = browser.find("svg.parts")
    assert picture.accessible_name == (
        "the picture; what its parts add to positive, in points, row by row: +20.0, +0.0, \u221225.0, +10.0"
    )
    assert len(browser.find("svg rect.for")) == 2
    dashes = [rect.value_of_css_property("stroke-dasharray") for rect in browser.find("svg rect")]
    assert dashes == ["none", "6px, 4px", "none"]  # the sign is more than a colour
    rows = [row.text for row in browser.find(".figures tr")]
    assert rows[:2] == ["love +30.0", "picture, row 2, column 1 \u221225.0"]


@pytest.mark.parametrize("missing", ["text", "image"])
def test_a_page_of_one_modality_is_whole(missing: str, tmp_path: Path) -> None:
    given = document("good", {"good": 0.1}, []) if missing == "image" else document("", {}, [[0.1]])
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    explained_page.write(
        tmp_path / "a.html", given, None if missing == "image" else tmp_path / "a.png"
    )
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert ("<h2>Words</h2>" in page) == (missing == "image")
    assert ("<svg" in page) == (missing == "text")
