"""Draws the pictures of the report in the README and in `docs/`: scores with cards, the label audit, and
cards that are explained; and the page of one of these.

    python -m docs.report_picture

Reads `reports/report.html` and `data/explanations.json` of the demo data; writes `report.png`,
`label-audit.png`, `explained-cards.png` and `explanation.png` into `docs/images/`.
Needs Debian's `chromium`, `chromium-driver`, `fonts-noto-color-emoji` and `fonts-wqy-zenhei`, and
`requirements-dev.txt`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from sentifuse.evaluation import explained_page
from sentifuse.runtime.files import read_json
from tools.browser import Browser

PAGE = Path("reports/report.html")
EXPLANATIONS, EXPLAINED = Path("data/explanations.json"), "3037"
# Picture -> parts of the page, each from the top of one element to the bottom of another.
PICTURES = {
    Path("docs/images/report.png"): [
        ("#scores", "#scores .figure"),
        ("#disagreements", "#disagreements .card:first-child"),
    ],
    Path("docs/images/label-audit.png"): [("#labels", "#labels .card:nth-child(4)")],
    Path("docs/images/explained-cards.png"): [("#mistakes .card", "#mistakes .card")],
}
# The same of the page of one pair.
EXPLANATION = {Path("docs/images/explanation.png"): [("main", "main")]}
WIDTH, MARGIN = 1080, 10


def main() -> None:
    """Draws all pictures."""
    draw(PAGE, PICTURES)
    [image] = [
        path for path in Path("data/demo/data").glob(f"{EXPLAINED}.*") if path.suffix != ".txt"
    ]
    with tempfile.TemporaryDirectory() as scratch:
        page = Path(scratch) / "page.html"
        explained_page.write(page, read_json(EXPLANATIONS)[EXPLAINED], image)
        draw(page, EXPLANATION)


def draw(source: Path, pictures: Mapping[Path, Sequence[tuple[str, str]]]) -> None:
    """Takes a screenshot of a page and puts the parts of each picture one below the other."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "page.png"
        browser = Browser(Path(scratch) / "profile", width=WIDTH, height=900)
        try:
            browser.open(source)
            browser.screenshot(whole)  # before measuring: it settles the layout
            found = {
                out: [
                    (_edge(browser, first, "y"), _edge(browser, last, "y", "height"))
                    for first, last in parts
                ]
                for out, parts in pictures.items()
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
