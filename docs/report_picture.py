"""Draws the README's picture of the report: its scores, and the first row of a gallery.

    python -m docs.report_picture

Reads `reports/report.html` of the demo data; writes `docs/images/report.png`. Needs Debian's `chromium`,
`chromium-driver`, `fonts-noto-color-emoji` and `fonts-wqy-zenhei`, and `requirements-dev.txt`.
"""

import tempfile
from pathlib import Path

from PIL import Image

from tools.browser import Browser

PAGE = Path("reports/report.html")
OUT = Path("docs/images/report.png")
WIDTH, MARGIN = 1080, 10


def main() -> None:
    """Takes a screenshot of the page and puts two parts of it one below the other."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "page.png"
        browser = Browser(Path(scratch) / "profile", width=WIDTH, height=900)
        try:
            browser.open(PAGE)
            top = _edge(browser, "#scores", "y")
            scores = (top, _edge(browser, "#scores .figure", "y", "height"))
            last = "#disagreements .card:first-child"
            cards = (_edge(browser, "#disagreements", "y"), _edge(browser, last, "y", "height"))
            browser.screenshot(whole)
        finally:
            browser.close()
        page = Image.open(whole).convert("RGB")
    parts = [
        page.crop((0, start - MARGIN, page.width, end + MARGIN)) for start, end in (scores, cards)
    ]
    sheet = Image.new("RGB", (page.width, sum(part.height for part in parts)))
    sheet.paste(parts[0], (0, 0))
    sheet.paste(parts[1], (0, parts[0].height))
    sheet.quantize(192, dither=Image.Dither.NONE).save(OUT, optimize=True)


def _edge(browser: Browser, css: str, *sizes: str) -> int:
    """The sum of these numbers of the first such element's box, in CSS pixels."""
    return round(sum(browser.find(css)[0].rect[size] for size in sizes))


if __name__ == "__main__":
    main()
