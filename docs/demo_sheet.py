"""Draws the README's picture of the demo data: eight pairs with their texts and labels.

    python -m docs.demo_sheet

Reads `data/demo/`; writes `docs/images/demo.png`.
"""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from sentifuse.data.manifest import build, read_label_rows
from sentifuse.data.text import decode

ROOT = Path("data/demo")
OUT = Path("docs/images/demo.png")
COLOURS = {"negative": "#b5403a", "neutral": "#5a6270", "positive": "#2f7d4f"}


def main() -> None:
    """Takes the first pairs of each label in `train.txt`."""
    rows = read_label_rows(ROOT / "train.txt")
    chosen = [
        *[row for row in rows if row.tag == "positive"][:3],
        *[row for row in rows if row.tag == "negative"][:3],
        *[row for row in rows if row.tag == "neutral"][:2],
    ]
    files = build(ROOT, [row.guid for row in chosen]).set_index("guid")
    figure = Figure(figsize=(11, 6.4), layout="constrained")
    for axes, row in zip(figure.subplots(2, 4).flat, chosen, strict=True):
        with Image.open(files.loc[row.guid, "image"]) as image:
            axes.imshow(image.convert("RGB").resize((320, 240)))
        text = decode(Path(files.loc[row.guid, "text"]).read_bytes())
        # Matplotlib's font has no emoji.
        shown = "".join(letter for letter in text if ord(letter) < 0x2190)
        axes.set_title(row.tag, color=COLOURS[row.tag], fontweight="bold", fontsize=10)
        axes.set_xlabel("\n".join(textwrap.wrap(shown, 34)[:4]), fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
