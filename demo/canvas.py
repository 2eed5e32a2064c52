"""A canvas with soft edges, on which everything is drawn."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from demo.colours import Colour

Point = tuple[float, float]

SUPERSAMPLING = 2
"""Everything is drawn so many times larger than asked for, which smooths the edges."""


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns Pillow's own font, which needs no font file, at a size in pixels."""
    return ImageFont.load_default(size)


class Canvas:
    """A picture in the making.

    Lengths are in units of the picture's shorter side: a square picture is 1 by 1, a landscape one
    is 1 high and more than 1 wide. The origin is the upper left corner. Things stand at (x, y) with
    their foot there, unless they hang or fly (then it is the middle).

    Attributes:
        w: Width in units of the shorter side, at least 1.
        h: Height in the same unit, at least 1.
    """

    def __init__(self, width: int, height: int) -> None:
        """Makes an empty picture of so many pixels."""
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._unit = min(size)
        self.w, self.h = size[0] / self._unit, size[1] / self._unit
        self._image = Image.new("RGB", size)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    def finish(self) -> Image.Image:
        """Returns the picture in the pixels asked for."""
        return self._image.reduce(SUPERSAMPLING)

    def _px(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._unit, y * self._unit) for x, y in points]

    def gradient(
        self, top: Colour, bottom: Colour, y0: float = 0.0, y1: float | None = None
    ) -> None:
        """Fills the full width from y0 to y1 (the lower edge if None) from one colour to another."""
        first, last = round(y0 * self._unit), round((self.h if y1 is None else y1) * self._unit)
        if last <= first:
            return
        t = np.linspace(0, 1, last - first)[:, None]
        column = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)[:, None, :]
        strip = Image.fromarray(column).resize((self._image.width, last - first))
        self._image.paste(strip, (0, first))

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Fills an ellipse around (x, y)."""
        self._draw.ellipse(self._px([(x - rx, y - ry), (x + rx, y + ry)]), fill=fill)

    def rect(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """Fills a rectangle between two corners."""
        self._draw.rectangle(self._px([(x0, y0), (x1, y1)]), fill=fill)

    def rounded(self, x0: float, y0: float, x1: float, y1: float, r: float, fill: Colour) -> None:
        """Fills a rectangle with round corners of radius r."""
        box = self._px([(x0, y0), (x1, y1)])
        self._draw.rounded_rectangle(box, radius=r * self._unit, fill=fill)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fills a polygon."""
        self._draw.polygon(self._px(points), fill=fill)

    def line(self, points: Sequence[Point], fill: Colour, width: float) -> None:
        """Draws a line through the points."""
        thick = max(1, round(width * self._unit))
        self._draw.line(self._px(points), fill=fill, width=thick, joint="curve")

    def arc(self, x: float, y: float, r: float, angles: Point, fill: Colour, width: float) -> None:
        """Draws a circular arc between two angles in degrees, clockwise from the right."""
        box = self._px([(x - r, y - r), (x + r, y + r)])
        self._draw.arc(box, *angles, fill=fill, width=max(1, round(width * self._unit)))

    def pie(self, x: float, y: float, r: float, angles: Point, fill: Colour) -> None:
        """Fills a slice of a disc between two angles in degrees, clockwise from the right."""
        self._draw.pieslice(self._px([(x - r, y - r), (x + r, y + r)]), *angles, fill=fill)

    def text(self, x: float, y: float, text: str, size: float, fill: Colour) -> None:
        """Writes a line of text around (x, y)."""
        font = _font(max(8, round(size * self._unit)))
        self._draw.text((x * self._unit, y * self._unit), text, fill=fill, font=font, anchor="mm")
