"""A canvas with soft edges, and the things that can be drawn on it.

Lengths are in units of the picture's shorter side: a square picture is 1 by 1, a landscape one is
1 high and more than 1 wide. The origin is the upper left corner. Colours are RGB or RGBA in 0 to
255. Things stand at (x, y) with their foot there, unless they hang or fly (then it is the middle).
"""

from collections.abc import Sequence
from functools import cache
from math import cos, pi, sin
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]
Point = tuple[float, float]

SUPERSAMPLING = 2
"""Everything is drawn so many times larger than asked for, which smooths the edges."""

WHITE: Colour = (250, 250, 248)
BLACK: Colour = (25, 25, 30)
GREY: Colour = (128, 130, 135)

BRIGHT: tuple[Colour, ...] = (
    (231, 76, 60), (241, 196, 15), (46, 164, 79), (52, 152, 219), (155, 89, 182), (255, 128, 60),
    (255, 111, 165), (26, 188, 156),
)  # fmt: skip
MUTED: tuple[Colour, ...] = (
    (120, 100, 90), (90, 105, 120), (140, 130, 115), (105, 120, 105), (125, 105, 125),
    (160, 150, 140), (80, 90, 95),
)  # fmt: skip
SKINS: tuple[Colour, ...] = (
    (255, 219, 190), (241, 194, 155), (224, 172, 125), (198, 134, 90), (141, 85, 52), (92, 58, 40),
)  # fmt: skip
HAIRS: tuple[Colour, ...] = (
    (35, 28, 25), (74, 48, 32), (120, 76, 40), (190, 140, 70), (165, 70, 40), (150, 150, 150),
)  # fmt: skip
PLASTERS: tuple[Colour, ...] = (
    (235, 215, 180), (200, 120, 95), (215, 225, 230), (180, 190, 160),
)  # fmt: skip
LEAVES: tuple[Colour, ...] = ((60, 120, 60), (85, 140, 60), (45, 100, 65), (110, 140, 70))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns Pillow's own font, which needs no font file, at a size in pixels."""
    return ImageFont.load_default(size)


class Canvas:
    """A picture in the making.

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

    def arc(
        self, x: float, y: float, r: float, start: float, end: float, fill: Colour, width: float
    ) -> None:
        """Draws a circular arc; the angles are in degrees, clockwise from the right."""
        box = self._px([(x - r, y - r), (x + r, y + r)])
        self._draw.arc(box, start, end, fill=fill, width=max(1, round(width * self._unit)))

    def pie(self, x: float, y: float, r: float, start: float, end: float, fill: Colour) -> None:
        """Fills a slice of a disc; the angles are in degrees, clockwise from the right."""
        self._draw.pieslice(self._px([(x - r, y - r), (x + r, y + r)]), start, end, fill=fill)

    def text(self, x: float, y: float, text: str, size: float, fill: Colour) -> None:
        """Writes a line of text around (x, y)."""
        font = _font(max(8, round(size * self._unit)))
        self._draw.text((x * self._unit, y * self._unit), text, fill=fill, font=font, anchor="mm")


def vary(colour: Colour, rng: Random, amount: int = 18) -> Colour:
    """Returns a colour near the given one: each channel moved by at most `amount`."""
    return tuple(min(255, max(0, value + rng.randint(-amount, amount))) for value in colour[:3])


def shade(colour: Colour, factor: float) -> Colour:
    """Returns the colour made darker (factor below 1) or lighter (above 1)."""
    return tuple(min(255, round(value * factor)) for value in colour[:3])


def blob(canvas: Canvas, x: float, y: float, size: float, fill: Colour, rng: Random) -> None:
    """Draws a puff of discs, such as a cloud or smoke, about 2 * size wide."""
    for _ in range(7):
        dx, dy = rng.uniform(-1, 1) * size * 0.7, rng.uniform(-0.4, 0.3) * size * 0.7
        r = size * rng.uniform(0.28, 0.5)
        canvas.ellipse(x + dx, y + dy, r, r * 0.85, fill)


def sun(canvas: Canvas, x: float, y: float, r: float, fill: Colour = (255, 214, 70)) -> None:
    """Draws a glowing disc."""
    for k in (1.9, 1.55, 1.25):
        canvas.ellipse(x, y, r * k, r * k, (*fill[:3], 45))
    canvas.ellipse(x, y, r, r, fill)


def rain(canvas: Canvas, rng: Random, drops: int) -> None:
    """Draws slanted rain over the whole picture."""
    slant = rng.uniform(-0.03, 0.03)
    for _ in range(drops):
        x, y, long = rng.uniform(0, canvas.w), rng.uniform(0, canvas.h), rng.uniform(0.03, 0.08)
        canvas.line([(x, y), (x + slant, y + long)], (205, 220, 240, 150), 0.005)


def lightning(canvas: Canvas, x: float, rng: Random) -> None:
    """Draws a flash from the upper edge down to the middle."""
    points, y = [(x, 0.08)], 0.08
    while y < 0.5:
        y += rng.uniform(0.06, 0.11)
        x += rng.uniform(-0.09, 0.09)
        points.append((x, y))
    canvas.line(points, (255, 250, 190), 0.013)


def hills(canvas: Canvas, y: float, fill: Colour, rng: Random) -> None:
    """Fills the ground below a wavy line around y."""
    phase, waves = rng.uniform(0, 6), rng.uniform(2, 5)
    ridge = [
        (canvas.w * i / 24, y + 0.045 * sin(phase + waves * canvas.w * i / 24)) for i in range(25)
    ]
    canvas.polygon([(0, canvas.h), *ridge, (canvas.w, canvas.h)], fill)


def flower(canvas: Canvas, x: float, y: float, size: float, fill: Colour, rng: Random) -> None:
    """Draws a flower of that height on its stalk."""
    r, top = size * 0.2, y - size
    canvas.line([(x, y), (x, top)], (60, 130, 60), size * 0.05)
    canvas.ellipse(x + size * 0.1, y - size * 0.35, size * 0.1, size * 0.045, (70, 145, 65))
    petals, turn = rng.choice((5, 6, 8)), rng.uniform(0, pi)
    for i in range(petals):
        angle = turn + 2 * pi * i / petals
        canvas.ellipse(x + r * cos(angle), top + r * sin(angle), r * 0.7, r * 0.7, fill)
    canvas.ellipse(x, top, r * 0.6, r * 0.6, (250, 205, 60))


def wilted(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a flower with a hanging head and brown petals, some on the ground."""
    side = rng.choice((-1, 1))
    stalk = [
        (x + side * size * 0.42 * t**2, y - size * (1.5 * t - 0.85 * t**3))
        for t in (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]
    canvas.line(stalk, (115, 110, 55), size * 0.05)
    head_x, head_y = stalk[-1]
    brown = vary((135, 90, 65), rng)
    for dx in (-0.1, 0.0, 0.1):
        canvas.ellipse(head_x + dx * size, head_y + 0.1 * size, size * 0.07, size * 0.15, brown)
    for _ in range(3):
        dx = rng.uniform(-0.6, 0.6) * size
        canvas.ellipse(x + dx, y - 0.01, size * 0.07, size * 0.03, vary(brown, rng))


def tree(canvas: Canvas, x: float, y: float, size: float, rng: Random, leafy: bool = True) -> None:
    """Draws a tree of that height, with a crown or with bare branches."""
    bark = vary((95, 70, 50), rng, 12)
    canvas.line([(x, y), (x, y - size * 0.6)], bark, size * 0.09)
    if leafy:
        leaf = vary(rng.choice(LEAVES), rng)
        for dx, dy in ((-0.16, -0.6), (0.16, -0.6), (0.0, -0.78), (0.0, -0.58)):
            canvas.ellipse(x + dx * size, y + dy * size, size * 0.2, size * 0.2, leaf)
        return
    for side in (-1, 1, -1, 1, -1):
        foot, reach = y - size * rng.uniform(0.3, 0.6), rng.uniform(0.15, 0.32)
        tip = (x + side * reach * size, foot - size * rng.uniform(0.15, 0.38))
        canvas.line([(x, foot), tip], bark, size * 0.035)
        fork = ((x + tip[0]) / 2, (foot + tip[1]) / 2)
        canvas.line([fork, (fork[0], tip[1] - 0.03 * size)], bark, size * 0.022)


def balloon(canvas: Canvas, x: float, y: float, r: float, fill: Colour) -> None:
    """Draws a balloon with its string."""
    string = [(x + 0.12 * r * sin(4 * t), y + r * 1.2 + t * r * 1.6) for t in (0, 0.3, 0.6, 1)]
    canvas.line(string, (110, 110, 110), 0.004)
    canvas.polygon(
        [(x, y + r), (x - r * 0.16, y + r * 1.35), (x + r * 0.16, y + r * 1.35)], shade(fill, 0.8)
    )
    canvas.ellipse(x, y, r, r * 1.2, fill)
    canvas.ellipse(x - r * 0.35, y - r * 0.45, r * 0.2, r * 0.3, (255, 255, 255, 120))


def _heart_outline(x: float, y: float, size: float) -> list[Point]:
    """Returns the outline of a heart of about that width, clockwise from its upper notch."""
    angles = (2 * pi * i / 60 for i in range(60))
    return [
        (
            x + size * sin(t) ** 3 / 2,
            y - size * (13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 34,
        )
        for t in angles
    ]


def heart(canvas: Canvas, x: float, y: float, size: float, fill: Colour) -> None:
    """Draws a whole heart."""
    canvas.polygon(_heart_outline(x, y, size), fill)
    canvas.ellipse(x - size * 0.26, y - size * 0.2, size * 0.09, size * 0.07, (255, 255, 255, 110))


def broken_heart(
    canvas: Canvas, x: float, y: float, size: float, fill: Colour, rng: Random
) -> None:
    """Draws the two halves of a heart, apart along a jagged line."""
    outline = _heart_outline(x, y, size)
    heights = (-0.15, -0.02, 0.11, 0.24, 0.37)
    crack = [(x + (-1) ** i * size * 0.07, y + d * size) for i, d in enumerate(heights)]
    gap, drop = size * rng.uniform(0.08, 0.14), size * rng.uniform(0.02, 0.1)
    right = [*outline[:31], *reversed(crack)]
    left = [*outline[30:], outline[0], *crack]
    canvas.polygon([(px + gap, py + drop) for px, py in right], fill)
    canvas.polygon([(px - gap, py) for px, py in left], shade(fill, 0.9))


def cake(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a cake of that width with icing and burning candles."""
    base, icing = vary(rng.choice(((205, 150, 95), (110, 70, 50), (240, 220, 180))), rng), WHITE
    if rng.random() < 0.5:
        icing = vary((250, 160, 190), rng)
    height = size * rng.uniform(0.35, 0.5)
    canvas.ellipse(x, y, size * 0.62, size * 0.07, (225, 228, 235))
    canvas.rounded(x - size / 2, y - height, x + size / 2, y, size * 0.04, base)
    canvas.rect(x - size / 2, y - height, x + size / 2, y - height * 0.7, icing)
    for i in range(8):
        drip_x = x - size / 2 + size * (i + 0.5) / 8
        canvas.ellipse(drip_x, y - height * 0.7, size / 16, height * rng.uniform(0.08, 0.22), icing)
    candles = rng.randint(3, 6)
    for i in range(candles):
        cx, top = x + size * 0.8 * ((i + 0.5) / candles - 0.5), y - height - size * 0.2
        canvas.line([(cx, y - height), (cx, top)], rng.choice(BRIGHT), size * 0.04)
        canvas.ellipse(cx, top - size * 0.04, size * 0.028, size * 0.055, (255, 190, 50))
        canvas.ellipse(cx, top - size * 0.03, size * 0.013, size * 0.028, (255, 245, 190))


def _mouth(canvas: Canvas, x: float, y: float, r: float, mood: float, rng: Random) -> None:
    """Draws a mouth around (x, y) for a head of radius r, its ends up for a positive mood."""
    half, bend = r * rng.uniform(0.33, 0.46), r * 0.42 * mood
    curve = [(x + half * t / 6, y + bend * (0.6 - (t / 6) ** 2)) for t in range(-6, 7)]
    if mood > 0.6 and rng.random() < 0.55:
        canvas.polygon(curve, (120, 35, 40))
        canvas.line([curve[0], curve[-1]], WHITE, r * 0.08)
    else:
        canvas.line(curve, (130, 50, 50), r * 0.07)


def _eyes(canvas: Canvas, x: float, y: float, r: float, mood: float, rng: Random) -> None:
    """Draws eyes and brows; in a bad mood the brows rise to the middle."""
    apart, glance = r * 0.36, rng.uniform(-0.03, 0.03) * r
    iris, brow = rng.choice(((60, 40, 30), (60, 90, 130), (70, 100, 60))), rng.uniform(0.26, 0.32)
    for side in (-1, 1):
        ex = x + side * apart
        canvas.ellipse(ex, y, r * 0.15, r * 0.12, WHITE)
        canvas.ellipse(ex + glance, y, r * 0.075, r * 0.085, iris)
        tilt = r * 0.12 * min(0.3, mood) * side * -1
        outer, inner = ex + side * r * 0.16, ex - side * r * 0.14
        canvas.line(
            [(outer, y - brow * r - tilt * side), (inner, y - brow * r + tilt * side)],
            (60, 45, 40),
            r * 0.055,
        )


def face(canvas: Canvas, x: float, y: float, r: float, mood: float, rng: Random) -> None:
    """Draws a person from the shoulders up.

    Args:
        canvas: Where to draw.
        x: Middle of the head.
        y: Middle of the head.
        r: Half the width of the head.
        mood: From -1 (frown) over 0 (flat mouth) to 1 (smile).
        rng: Chooses skin, hair, clothes and details.
    """
    skin, hair = vary(rng.choice(SKINS), rng, 8), vary(rng.choice(HAIRS), rng, 10)
    clothes = vary(rng.choice(BRIGHT + MUTED), rng)
    long_hair = rng.random() < 0.45
    if long_hair:
        canvas.rounded(x - r * 1.15, y - r * 0.9, x + r * 1.15, y + r * 1.5, r * 0.6, hair)
    canvas.rounded(x - r * 1.6, y + r * 1.45, x + r * 1.6, y + r * 5, r * 0.7, clothes)
    canvas.rect(x - r * 0.32, y + r * 0.7, x + r * 0.32, y + r * 1.6, shade(skin, 0.88))
    canvas.ellipse(x, y - r * 0.35, r * 1.1, r * 1.05, hair)
    canvas.ellipse(x, y, r, r * 1.18, skin)
    canvas.pie(x, y - r * 0.35, r * 1.04, 190, 350, hair)
    _eyes(canvas, x, y, r, mood, rng)
    canvas.line(
        [(x, y + r * 0.12), (x + r * 0.08, y + r * 0.36), (x - r * 0.03, y + r * 0.38)],
        shade(skin, 0.75),
        r * 0.045,
    )
    _mouth(canvas, x, y + r * 0.68, r, mood, rng)
    if mood < -0.5 and rng.random() < 0.7:
        for side in rng.choice(((-1,), (1,), (-1, 1))):
            tear_x, tear_y = x + side * r * 0.42, y + r * rng.uniform(0.3, 0.5)
            canvas.ellipse(tear_x, tear_y, r * 0.1, r * 0.18, (120, 190, 240))
    if rng.random() < 0.2:
        for side in (-1, 1):
            canvas.arc(x + side * r * 0.36, y, r * 0.25, 0, 360, BLACK, r * 0.045)
        canvas.line([(x - r * 0.11, y), (x + r * 0.11, y)], BLACK, r * 0.045)


def window(canvas: Canvas, x: float, y: float, size: float, fill: Colour) -> None:
    """Draws a square window with a cross around (x, y)."""
    half = size / 2
    canvas.rect(x - half * 1.2, y - half * 1.2, x + half * 1.2, y + half * 1.2, WHITE)
    canvas.rect(x - half, y - half, x + half, y + half, fill)
    canvas.line([(x, y - half), (x, y + half)], WHITE, size * 0.08)
    canvas.line([(x - half, y), (x + half, y)], WHITE, size * 0.08)


def house(canvas: Canvas, x: float, y: float, size: float, rng: Random, ruined: bool) -> None:
    """Draws a house of that width, whole or with a torn roof, cracks and dark windows."""
    wall = vary(rng.choice(PLASTERS), rng)
    roof = vary(rng.choice(((160, 70, 55), (90, 80, 85), (120, 85, 60))), rng)
    left, right, top = x - size / 2, x + size / 2, y - size * 0.6
    canvas.rect(left, top, right, y, wall)
    canvas.rect(x - size * 0.08, y - size * 0.32, x + size * 0.08, y, shade(roof, 0.8))
    glass = vary((150, 200, 230), rng) if rng.random() < 0.6 else vary((250, 225, 130), rng)
    for side in (-1, 1):
        window(canvas, x + side * size * 0.3, y - size * 0.36, size * 0.16, glass)
    apex, eave = top - size * rng.uniform(0.3, 0.45), size * 0.08
    if not ruined:
        canvas.rect(x + size * 0.2, apex, x + size * 0.32, top, shade(wall, 0.7))
        canvas.polygon([(left - eave, top), (x, apex), (right + eave, top)], roof)
        return
    canvas.polygon(
        [
            (left - eave, top), (x - size * 0.12, apex + size * 0.08), (x - size * 0.02, top - 0.02),
            (x + size * 0.12, top - size * 0.12), (x + size * 0.2, top), (right + eave, top + 0.03),
        ],
        shade(roof, 0.75),
    )  # fmt: skip
    for side in (-1, 1):
        wx, wy, half = x + side * size * 0.3, y - size * 0.36, size * 0.1
        canvas.rect(wx - half, wy - half, wx + half, wy + half, (40, 36, 38))
        canvas.line([(wx - half, wy - half), (wx + half, wy + half)], (135, 105, 70), size * 0.035)
    crack_x = x + rng.uniform(-0.2, 0.2) * size
    crack = [(crack_x + rng.uniform(-0.05, 0.05) * size, y - size * 0.1 * i) for i in range(6)]
    canvas.line(crack, (60, 50, 48), size * 0.018)
    for _ in range(9):
        rx, rr = x + rng.uniform(-0.75, 0.75) * size, size * rng.uniform(0.03, 0.08)
        canvas.polygon(
            [(rx - rr, y + rr * 0.5), (rx - rr * 0.3, y - rr), (rx + rr, y + rr * 0.4)],
            vary(shade(wall, 0.75), rng),
        )


def car(canvas: Canvas, x: float, y: float, size: float, rng: Random, wrecked: bool) -> None:
    """Draws a car of that length from the side, whole or crashed."""
    paint = vary(rng.choice(BRIGHT + MUTED), rng)
    glass = (185, 215, 230)
    tall, body = size * 0.2, y - size * 0.08
    if wrecked:
        canvas.polygon(
            [
                (x - size * 0.5, body), (x - size * 0.5, body - tall),
                (x - size * 0.3, body - tall), (x - size * 0.2, body - tall * 1.75),
                (x + size * 0.08, body - tall * 1.55), (x + size * 0.2, body - tall * 0.95),
                (x + size * 0.3, body - tall * 1.15), (x + size * 0.34, body - tall * 0.5),
                (x + size * 0.42, body - tall * 0.65), (x + size * 0.38, body),
            ],
            paint,
        )  # fmt: skip
        glass = (70, 75, 80)
    else:
        canvas.rounded(x - size / 2, body - tall, x + size / 2, body, size * 0.05, paint)
        canvas.polygon(
            [
                (x - size * 0.34, body - tall), (x - size * 0.22, body - tall * 1.9),
                (x + size * 0.14, body - tall * 1.9), (x + size * 0.3, body - tall),
            ],
            paint,
        )  # fmt: skip
    canvas.polygon(
        [
            (x - size * 0.26, body - tall), (x - size * 0.18, body - tall * 1.5),
            (x - size * 0.03, body - tall * 1.5), (x - size * 0.03, body - tall),
        ],
        glass,
    )  # fmt: skip
    for at, sunk in ((-0.28, 0.0), (0.28, 0.02 if wrecked else 0.0)):
        squash = 0.75 if sunk else 1.0
        canvas.ellipse(x + at * size, body + sunk, size * 0.095, size * 0.095 * squash, BLACK)
        canvas.ellipse(x + at * size, body + sunk, size * 0.045, size * 0.045, (170, 172, 176))
    if wrecked:
        for _ in range(8):
            sx = x + size * rng.uniform(0.3, 0.75)
            canvas.line([(sx, y), (sx + 0.02, y - 0.015)], (215, 230, 235), 0.008)
        for i in range(3):
            blob(canvas, x + size * 0.3, y - size * (0.35 + 0.17 * i), size * (0.1 + 0.04 * i),
                 (110, 110, 115, 110), rng)  # fmt: skip


def block(canvas: Canvas, x0: float, x1: float, top: float, bottom: float, rng: Random) -> None:
    """Draws an office block with rows of windows, some of them lit."""
    wall = vary(rng.choice(MUTED), rng)
    canvas.rect(x0, top, x1, bottom, wall)
    columns = max(2, round((x1 - x0) / 0.07))
    step = (x1 - x0) / columns
    lit = vary((240, 220, 140), rng)
    y = top + step * 0.4
    while y + step * 0.6 < bottom:
        for i in range(columns):
            glass = lit if rng.random() < 0.25 else shade(wall, 0.6)
            canvas.rect(x0 + step * (i + 0.25), y, x0 + step * (i + 0.75), y + step * 0.6, glass)
        y += step


def skyline(canvas: Canvas, ground: float, rng: Random) -> None:
    """Draws a row of office blocks across the picture, down to the ground line."""
    x = -0.05
    while x < canvas.w:
        wide = rng.uniform(0.16, 0.32)
        block(canvas, x, x + wide, ground - rng.uniform(0.18, 0.45), ground, rng)
        x += wide + rng.choice((0.0, 0.02))


def flame(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a flame of that height."""
    for scale, fill in ((1.0, (225, 70, 25)), (0.68, (250, 145, 30)), (0.38, (255, 225, 110))):
        tall, half, lean = size * scale, size * scale * 0.33, rng.uniform(-0.12, 0.12) * size
        canvas.polygon(
            [
                (x - half, y), (x - half * 1.1, y - tall * 0.35), (x - half * 0.5, y - tall * 0.6),
                (x + lean, y - tall), (x + half * 0.45, y - tall * 0.55),
                (x + half * 1.1, y - tall * 0.4), (x + half, y),
            ],
            fill,
        )  # fmt: skip


def firework(canvas: Canvas, x: float, y: float, r: float, fill: Colour, rng: Random) -> None:
    """Draws a burst of rays with bright tips."""
    rays = rng.randint(12, 20)
    for i in range(rays):
        angle, long = 2 * pi * i / rays, r * rng.uniform(0.75, 1.0)
        dx, dy = cos(angle), sin(angle)
        inner, tip = (x + dx * r * 0.2, y + dy * r * 0.2), (x + dx * long, y + dy * long)
        canvas.line([inner, tip], (*fill[:3], 190), 0.007)
        canvas.ellipse(*tip, 0.011, 0.011, shade(fill, 1.3))


def tombstone(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a grave with a stone or a cross of that height."""
    stone = vary((150, 152, 155), rng)
    canvas.ellipse(x, y, size * 0.45, size * 0.08, (95, 80, 60))
    if rng.random() < 0.35:
        canvas.line([(x, y), (x, y - size)], stone, size * 0.13)
        canvas.line([(x - size * 0.3, y - size * 0.68), (x + size * 0.3, y - size * 0.68)],
                    stone, size * 0.13)  # fmt: skip
        return
    half = size * 0.3
    canvas.rect(x - half, y - size + half, x + half, y, stone)
    canvas.pie(x, y - size + half, half, 180, 360, stone)
    canvas.text(x, y - size * 0.6, "R.I.P.", size * 0.17, shade(stone, 0.5))


def umbrella(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a striped parasol of that height."""
    canvas.line([(x, y), (x, y - size)], (235, 230, 220), size * 0.035)
    stripe, r = rng.choice(BRIGHT), size * 0.5
    for i in range(6):
        fill = stripe if i % 2 else WHITE
        canvas.pie(x, y - size * 0.55, r, 180 + 30 * i, 210 + 30 * i, fill)


def pot(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a flower pot of that height."""
    clay = vary(rng.choice(((190, 105, 70), (220, 220, 215), (90, 110, 130))), rng)
    half = size * 0.5
    canvas.polygon(
        [(x - half, y - size), (x + half, y - size), (x + half * 0.7, y), (x - half * 0.7, y)], clay
    )
    canvas.rect(x - half * 1.12, y - size, x + half * 1.12, y - size * 0.8, shade(clay, 0.88))
