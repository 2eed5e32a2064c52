"""What scenes of every sentiment begin with: a place outdoors or indoors, or people in one.

Light and weather are drawn for all of them alike or nearly so.
"""

from random import Random

from demo.buildings import skyline
from demo.canvas import Canvas
from demo.colours import WHITE, Colour, shade, vary
from demo.faces import face
from demo.nature import blob, hills, sun, tree

SKIES: dict[str, tuple[Colour, Colour]] = {
    "day": ((95, 165, 230), (205, 230, 245)),
    "evening": ((90, 85, 150), (250, 170, 110)),
    "night": ((15, 18, 45), (50, 55, 95)),
    "overcast": ((135, 145, 160), (200, 205, 210)),
    "morning": ((190, 205, 235), (255, 225, 205)),
}

WALLS: tuple[Colour, ...] = (
    (240, 225, 200), (205, 220, 230), (225, 205, 220), (190, 205, 185), (120, 110, 125),
    (70, 85, 105), (235, 235, 230), (165, 140, 120),
)  # fmt: skip

GROUNDS: tuple[Colour, ...] = (
    (110, 165, 80), (140, 150, 90), (90, 125, 80), (190, 175, 130), (235, 238, 242),
)  # fmt: skip


def sky(c: Canvas, rng: Random, *names: str) -> None:
    """Paints one of the named skies, any if none is named, with a few clouds at times."""
    name = rng.choice(names or tuple(SKIES))
    top, bottom = (vary(colour, rng) for colour in SKIES[name])
    c.gradient(top, bottom)
    if name == "night":
        for _ in range(rng.randint(0, 30)):
            c.ellipse(rng.uniform(0, c.w), rng.uniform(0, c.h * 0.6), 0.004, 0.004, WHITE)
        return
    if rng.random() < 0.3:
        sun(c, rng.uniform(0.1, c.w - 0.1), rng.uniform(0.1, 0.3), rng.uniform(0.06, 0.1))
    for _ in range(rng.randint(0, 3)):
        white = rng.randint(200, 250)
        x, y = rng.uniform(0, c.w), rng.uniform(0.05, 0.3)
        blob(c, x, y, rng.uniform(0.08, 0.15), (white, white, white, 200), rng)


def ground(c: Canvas, rng: Random) -> float:
    """Paints a piece of land and returns the height of its horizon."""
    y = c.h * rng.uniform(0.55, 0.72)
    hills(c, y, vary(rng.choice(GROUNDS), rng), rng)
    return y


def outdoors(c: Canvas, rng: Random) -> float:
    """Paints sky and land, often with a tree, and returns the height of the horizon."""
    sky(c, rng)
    y = ground(c, rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        tree(c, rng.uniform(0, c.w), y + 0.05, rng.uniform(0.25, 0.45), rng, rng.random() < 0.75)
    return y


def wall(c: Canvas, rng: Random) -> Colour:
    """Paints an indoor wall, plain or with stripes, and returns its colour."""
    paint = vary(rng.choice(WALLS), rng)
    c.gradient(paint, shade(paint, rng.uniform(0.75, 1.0)))
    if rng.random() < 0.3:
        wide = rng.uniform(0.05, 0.12)
        for i in range(int(c.w / wide / 2) + 1):
            c.rect(2 * i * wide, 0, (2 * i + 1) * wide, c.h, shade(paint, 0.95))
    return paint


def table(c: Canvas, rng: Random) -> float:
    """Paints a table top along the lower edge and returns the height things stand at."""
    y = c.h * rng.uniform(0.68, 0.76)
    wood = vary(rng.choice(((150, 105, 70), (200, 165, 120), (225, 220, 215), (85, 70, 65))), rng)
    c.gradient(wood, shade(wood, 0.8), y, c.h)
    return y + (c.h - y) * 0.35


def pot_place(c: Canvas, rng: Random) -> tuple[float, float, float]:
    """Paints a room with a table and returns foot (x, y) and height of the pot to be put there."""
    wall(c, rng)
    y = table(c, rng)
    return c.w * rng.uniform(0.38, 0.62), y, rng.uniform(0.24, 0.32)


def street(c: Canvas, rng: Random) -> float:
    """Paints sky, houses of a town and a road across; returns the height of the road's middle."""
    sky(c, rng)
    y = c.h * rng.uniform(0.62, 0.7)
    if rng.random() < 0.7:
        skyline(c, y, rng)
    else:
        hills(c, y - 0.05, vary(rng.choice(GROUNDS), rng), rng)
    c.gradient(vary((95, 97, 102), rng), (70, 72, 78), y, c.h)
    for i in range(int(c.w / 0.2) + 1):
        c.rect(0.2 * i, c.h * 0.9, 0.2 * i + 0.1, c.h * 0.9 + 0.015, (230, 230, 220))
    return y + (c.h * 0.88 - y) * 0.6


def people(c: Canvas, rng: Random, low: float, high: float) -> None:
    """Draws one or two people in front of anything, with moods between two bounds."""
    if rng.random() < 0.5:
        outdoors(c, rng)
    else:
        wall(c, rng)
    count = rng.choice((1, 1, 1, 2)) if c.w > 1.2 else 1
    r = min(0.31, 0.31 * c.w / count) * rng.uniform(0.8, 1.0)
    for i in range(count):
        x = c.w * (i + 0.5) / count + rng.uniform(-0.04, 0.04)
        face(c, x, c.h * rng.uniform(0.42, 0.52), r, rng.uniform(low, high), rng)
