"""Draws the pictures of the report in the README and in `docs/`: scores with cards, the label audit, and
cards that are explained.

    python -m docs.report_picture

Reads `reports/report.html` of the demo data; writes `report.png`, `label-audit.png` and `explained-cards.png`
into `docs/images/`.
Needs Debian's `chromium`, `chromium-driver`, `fonts-noto-color-emoji` and `fonts-wqy-zenhei`, and
`requirements-dev.txt`.
"""

import tempfile
from pathlib import Path

from PIL import Image

from tools.browser import Browser

PAGE = Path("reports/report.html")
# Picture -> parts of the page, each from the top of one element to the bottom of another.
PICTURES = {
    Path("docs/images/report.png"): [
        ("#scores", "#scores .figure"),
        ("#disagreements", "#disagreements .card:first-child"),
    ],
    Path("docs/images/label-audit.png"): [("#labels", "#labels .card:nth-child(4)")],
    Path("docs/images/explained-cards.png"): [("#mistakes .card", "#mistakes .card")],
}
WIDTH, MARGIN = 1080, 10


def main() -> None:
    """Takes a screenshot of the page and puts the parts of each picture one below the other."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "page.png"
        browser = Browser(Path(scratch) / "profile", width=WIDTH, height=900)
        try:
            browser.open(PAGE)
            browser.screenshot(whole)  # before measuring: it settles the layout
            found = {
                out: [
                    (_edge(browser, first, "y"), _edge(browser, last, "y", "height"))
                    for first, last in parts
                ]
                for out, parts in PICTURES.items()
            }
        finally:
            browser.close()
        page = Image.open(whole).convert("RGB")
    for out, edges in found.items():
        _draw(page, edges, out)


def _draw(page: Image.Image, edges: list[tuple[int, int]], out: Path) -> None:
    parts = [page.crop((0, top - MARGIN, page.width, end + MARGIN)) for top, end in edges]
    sheet = Image.new("RGB", (page.width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    sheet.quantize(192, dither=Image.Dither.NONE).save(out, optimize=True)


def _edge(browser: Browser, css: str, *sizes: str) -> int:
    """The sum of these numbers of the first such element's box, in CSS pixels."""
    return round(sum(browser.find(css)[0].rect[size] for size in sizes))


if __name__ == "__main__":
    main()
