"""Explanations as they are shown: the words coloured, and the picture under its grid.

Blue speaks for the class that was predicted, orange against it: colours that people with any kind of colour
vision can tell apart. The sign also shows in the line below a word and in the figures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# The macros `words`, `picture`, `figures` and `style`, which take an `Explained`.
MACROS = "explained.html.j2"
# Characters of a text that are shown: a file may have a megabyte.
_TEXT_LENGTH = 500
# The strongest part has the full colour, unless it adds less than this: then nothing matters much.
_LEAST_SCALE = 0.02
# What adds less is not coloured: its figure is 0.0, or it is little beside the strongest part.
_NOTHING, _FAINT = 0.0005, 0.05
# Words with more than this share of the full colour have their figure beside them.
_TOLD = 0.4
_NO_BOX = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Part:
    """A part of the text, or a cell of the picture.

    Attributes:
        text: the stretch of the text; of a cell which it is, in words.
        side: `for` or `against` the class that was predicted; empty for neither.
        shade: of its colour, 0..1.
        points: what it adds to the confidence, `+1.2`; empty for what is no word.
        told: whether the figure stands beside it, if it is a word.
        box: of a cell, left, top, width and height in pixels.
    """

    text: str
    side: str = ""
    shade: float = 0.0
    points: str = ""
    told: bool = False
    box: tuple[float, float, float, float] = _NO_BOX


@dataclass(frozen=True)
class Explained:
    """What the macros show: the class and its confidence, the text in parts, and the cells of the picture.

    `size` is the width and height of the picture, in pixels; `words` and `cells` are in their order, and
    `strongest` are those that add most, of either sign.
    """

    label: str
    confidence: float
    text: Sequence[Part]
    cells: Sequence[Part]
    size: tuple[int, int]
    strongest: Sequence[Part]


def of(document: Mapping[str, Any], size: tuple[int, int] = (0, 0)) -> Explained:
    """An explanation (`explaining.document`), with the size of the picture as it is shown."""
    words, grid = document["words"], document["grid"]
    values = [*(word["contribution"] for word in words), *(value for row in grid for value in row)]
    scale = max(_LEAST_SCALE, *map(abs, values), 0.0)
    cells = list(_cells(grid, size, scale))
    text = list(_parts(document["text"], words, scale))
    order = sorted(range(len(values)), key=lambda place: -abs(values[place]))
    every = [*(part for part in text if part.points), *cells]
    prediction = document["prediction"]
    return Explained(
        prediction["label"],
        prediction["confidence"],
        list(_cut(text)),
        cells,
        size,
        [every[place] for place in order],
    )


def points(value: float) -> str:
    """0.0123 -> `+1.2`, with a true minus sign."""
    return f"{100 * value:+.1f}".replace("-", "\u2212")


def shortened(text: str) -> str:
    """A text as it is shown where it is not explained."""
    folded = printable(" ".join(text.split()))
    return folded if len(folded) <= _TEXT_LENGTH else f"{folded[:_TEXT_LENGTH]}…"


def printable(text: str) -> str:
    """Without control characters, such as NUL, which have no place on a page."""
    return "".join(letter for letter in text if letter.isprintable())


def _parts(text: str, words: Sequence[Mapping[str, Any]], scale: float) -> Iterator[Part]:
    end = 0
    for word in words:
        if text[end : word["start"]].isspace():
            yield Part(" ")
        yield _part(printable(word["text"]), word["contribution"], scale)
        end = word["end"]


def _cells(grid: Sequence[Sequence[float]], size: tuple[int, int], scale: float) -> Iterator[Part]:
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            wide, high = size[0] / len(values), size[1] / len(grid)
            box = column * wide, row * high, wide, high
            yield _part(f"picture, row {row + 1}, column {column + 1}", value, scale, box)


def _part(
    text: str, value: float, scale: float, box: tuple[float, float, float, float] = _NO_BOX
) -> Part:
    told = points(value if abs(value) >= _NOTHING else 0.0)
    shade = round(abs(value) / scale, 3)
    if abs(value) < _NOTHING or shade < _FAINT:
        return Part(text, points=told, box=box)
    return Part(text, "for" if value > 0 else "against", shade, told, shade > _TOLD, box)


def _cut(parts: Sequence[Part]) -> Iterator[Part]:
    """The first parts of a text, as many as are shown."""
    length = 0
    for part in parts:
        length += len(part.text)
        if length > _TEXT_LENGTH:
            yield Part("…")
            return
        yield part
