"""Parts of a pair that are hidden, to see what the prediction owes to them.

For words this is leave-one-out, also called erasure (Li, Monroe and Jurafsky 2016, arXiv:1612.08220); for
pictures it is occlusion (Zeiler and Fergus 2014, arXiv:1311.2901). It needs nothing but predictions, so it
works with any encoder, and with an export as with a bundle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sentifuse.data import words
from sentifuse.data.images import Box
from sentifuse.data.words import Span
from sentifuse.features.contents import Source

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

# A picture is cut into so many rows, and as many columns.
GRID = 4
# Encoders read the first hundred words or some more. Of a longer text several words are hidden at a time.
MOST_WORDS = 128


@dataclass(frozen=True)
class Hidden:
    """What is hidden of a pair at once: words of its text, in their order, and parts of its picture."""

    spans: tuple[Span, ...] = ()
    boxes: tuple[Box, ...] = ()


def cells() -> list[Box]:
    """The cells of the grid, row by row."""
    return [
        (column / GRID, row / GRID, (column + 1) / GRID, (row + 1) / GRID)
        for row in range(GRID)
        for column in range(GRID)
    ]


def hide(content: "Mapping[Modality, Source]", hidden: Hidden) -> "dict[Modality, Source]":
    """The content of a pair without what is hidden of it."""
    found = dict(content)
    if hidden.spans:
        left = words.without(text_of(content["text"]), hidden.spans)
        found["text"] = replace(content["text"], raw=left.encode())
    if hidden.boxes:
        found["image"] = replace(content["image"], covered=hidden.boxes)
    return found


def text_of(source: Source) -> str:
    """The text of a pair: places of words are those in it."""
    return source.raw.decode()
