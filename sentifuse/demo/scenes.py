"""Pictures with a chosen sentiment: scenes composed of drawn things, seen through a poor camera.

Many scenes come in a version per sentiment (a face, a house, a heart, a pot of flowers, a street),
and light and weather are drawn for all of them alike or nearly so: what counts is in the details,
not in the palette.
"""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from sentifuse.demo import drawing as d
from sentifuse.demo.drawing import Canvas, Colour
from sentifuse.demo.text import Sentiment

Scene = Callable[[Canvas, Random], None]

SIDES = (200, 500)
"""The shortest and the longest side of a picture, in pixels."""

COLLAGE = 0.03
"""Share of the pictures that show a neutral scene beside their own."""

VAGUE = 0.02
"""Share of the pictures that do not show what they are labelled with."""

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

POSTER_WORDS = (
    "NOTICE", "ROOM 12", "MEETING", "OPEN 9-5", "PLATFORM 4", "EXIT", "TIMETABLE", "REPORT",
    "PAGE 7", "AGENDA", "MENU", "LEVEL B",
)  # fmt: skip


_RAINBOW: tuple[Colour, ...] = (
    (230, 70, 60), (245, 150, 50), (250, 225, 80), (90, 180, 90), (70, 130, 220), (140, 90, 190),
)  # fmt: skip

_HEART_COLOURS: tuple[Colour, ...] = (
    (220, 40, 60), (235, 90, 130), (180, 30, 60), (150, 60, 150), (60, 60, 70),
)  # fmt: skip


def _sky(c: Canvas, rng: Random, *names: str) -> None:
    """Paints one of the named skies, any if none is named, with a few clouds at times."""
    name = rng.choice(names or tuple(SKIES))
    top, bottom = (d.vary(colour, rng) for colour in SKIES[name])
    c.gradient(top, bottom)
    if name == "night":
        for _ in range(rng.randint(0, 30)):
            c.ellipse(rng.uniform(0, c.w), rng.uniform(0, c.h * 0.6), 0.004, 0.004, d.WHITE)
        return
    if rng.random() < 0.3:
        d.sun(c, rng.uniform(0.1, c.w - 0.1), rng.uniform(0.1, 0.3), rng.uniform(0.06, 0.1))
    for _ in range(rng.randint(0, 3)):
        white = rng.randint(200, 250)
        x, y = rng.uniform(0, c.w), rng.uniform(0.05, 0.3)
        d.blob(c, x, y, rng.uniform(0.08, 0.15), (white, white, white, 200), rng)


def _ground(c: Canvas, rng: Random) -> float:
    """Paints a piece of land and returns the height of its horizon."""
    y = c.h * rng.uniform(0.55, 0.72)
    d.hills(c, y, d.vary(rng.choice(GROUNDS), rng), rng)
    return y


def _outdoors(c: Canvas, rng: Random) -> float:
    """Paints sky and land, often with a tree, and returns the height of the horizon."""
    _sky(c, rng)
    y = _ground(c, rng)
    for _ in range(rng.choice((0, 1, 1, 2))):
        d.tree(c, rng.uniform(0, c.w), y + 0.05, rng.uniform(0.25, 0.45), rng, rng.random() < 0.75)
    return y


def _wall(c: Canvas, rng: Random) -> Colour:
    """Paints an indoor wall, plain or with stripes, and returns its colour."""
    wall = d.vary(rng.choice(WALLS), rng)
    c.gradient(wall, d.shade(wall, rng.uniform(0.75, 1.0)))
    if rng.random() < 0.3:
        wide = rng.uniform(0.05, 0.12)
        for i in range(int(c.w / wide / 2) + 1):
            c.rect(2 * i * wide, 0, (2 * i + 1) * wide, c.h, d.shade(wall, 0.95))
    return wall


def _table(c: Canvas, rng: Random) -> float:
    """Paints a table top along the lower edge and returns the height things stand at."""
    y = c.h * rng.uniform(0.68, 0.76)
    wood = d.vary(rng.choice(((150, 105, 70), (200, 165, 120), (225, 220, 215), (85, 70, 65))), rng)
    c.gradient(wood, d.shade(wood, 0.8), y, c.h)
    return y + (c.h - y) * 0.35


def _street(c: Canvas, rng: Random) -> float:
    """Paints sky, houses of a town and a road across; returns the height of the road's middle."""
    _sky(c, rng)
    y = c.h * rng.uniform(0.62, 0.7)
    if rng.random() < 0.7:
        d.skyline(c, y, rng)
    else:
        d.hills(c, y - 0.05, d.vary(rng.choice(GROUNDS), rng), rng)
    c.gradient(d.vary((95, 97, 102), rng), (70, 72, 78), y, c.h)
    for i in range(int(c.w / 0.2) + 1):
        c.rect(0.2 * i, c.h * 0.9, 0.2 * i + 0.1, c.h * 0.9 + 0.015, (230, 230, 220))
    return y + (c.h * 0.88 - y) * 0.6


def _bunting(c: Canvas, rng: Random) -> None:
    """Draws a row of small coloured flags along the upper edge."""
    for i in range(int(c.w / 0.1) + 1):
        x, y = 0.1 * i, 0.05 + 0.03 * (i % 3)
        c.polygon([(x, y), (x + 0.08, y), (x + 0.04, y + 0.1)], rng.choice(d.BRIGHT))


def _people(c: Canvas, rng: Random, low: float, high: float) -> None:
    """Draws one to three people in front of anything, with moods between two bounds."""
    if rng.random() < 0.5:
        _outdoors(c, rng)
    else:
        _wall(c, rng)
    count = rng.choice((1, 1, 1, 2)) if c.w > 1.2 else 1
    r = min(0.31, 0.31 * c.w / count) * rng.uniform(0.8, 1.0)
    for i in range(count):
        x = c.w * (i + 0.5) / count + rng.uniform(-0.04, 0.04)
        d.face(c, x, c.h * rng.uniform(0.42, 0.52), r, rng.uniform(low, high), rng)


def smiling_people(c: Canvas, rng: Random) -> None:
    """People who smile, at times below bunting or beside balloons or hearts."""
    _people(c, rng, 0.6, 1.0)
    extra = rng.random()
    if extra < 0.25:
        _bunting(c, rng)
    elif extra < 0.7:
        for x in (0.1, c.w - 0.1):
            if extra < 0.45:
                d.heart(c, x, rng.uniform(0.15, 0.4), 0.18, rng.choice(_HEART_COLOURS))
            else:
                d.balloon(c, x, rng.uniform(0.2, 0.5), 0.09, rng.choice(d.BRIGHT))


def sad_people(c: Canvas, rng: Random) -> None:
    """People who frown or cry, at times in the rain or with a broken heart."""
    _people(c, rng, -1.0, -0.6)
    extra = rng.random()
    if extra < 0.45:
        d.rain(c, rng, rng.randint(60, 120))
    elif extra < 0.65:
        d.broken_heart(c, c.w - 0.14, rng.uniform(0.15, 0.4), 0.24, rng.choice(_HEART_COLOURS), rng)


def plain_portrait(c: Canvas, rng: Random) -> None:
    """People with a flat mouth."""
    _people(c, rng, -0.12, 0.12)


def beach(c: Canvas, rng: Random) -> None:
    """Sea, sand and parasols in the sun."""
    _sky(c, rng, "day", "morning", "evening")
    sea, sand = c.h * rng.uniform(0.42, 0.52), c.h * rng.uniform(0.62, 0.72)
    d.sun(c, rng.uniform(0.15, c.w - 0.15), rng.uniform(0.12, sea - 0.12), rng.uniform(0.07, 0.11))
    c.gradient(d.vary((50, 130, 190), rng), d.vary((110, 200, 215), rng), sea, sand)
    c.gradient(d.vary((240, 215, 155), rng), d.vary((220, 185, 125), rng), sand, c.h)
    for _ in range(rng.randint(0, 2)):
        x, y = rng.uniform(0.2, c.w - 0.2), sea + 0.04
        c.polygon([(x - 0.07, y), (x + 0.07, y), (x + 0.045, y + 0.03), (x - 0.045, y + 0.03)],
                  (120, 70, 50))  # fmt: skip
        c.polygon([(x, y - 0.01), (x, y - 0.15), (x + 0.07, y - 0.01)], d.WHITE)
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(0.15, c.w - 0.15), rng.uniform(sand + 0.12, c.h - 0.02)
        d.umbrella(c, x, y, rng.uniform(0.25, 0.4), rng)
        towel = rng.choice(d.BRIGHT)
        c.polygon([(x + 0.04, y), (x + 0.24, y), (x + 0.29, y + 0.05), (x + 0.09, y + 0.05)], towel)


def balloons(c: Canvas, rng: Random) -> None:
    """A bunch of balloons, indoors or in the open, at times under bunting."""
    if rng.random() < 0.5:
        _outdoors(c, rng)
    else:
        _wall(c, rng)
    if rng.random() < 0.5:
        _bunting(c, rng)
    for _ in range(rng.randint(3, 9)):
        x, y = rng.uniform(0.1, c.w - 0.1), rng.uniform(0.2, c.h * 0.65)
        d.balloon(c, x, y, rng.uniform(0.06, 0.13), d.vary(rng.choice(d.BRIGHT), rng))


def birthday(c: Canvas, rng: Random) -> None:
    """A cake with candles, with balloons behind it at times."""
    _wall(c, rng)
    for _ in range(rng.choice((0, 0, 2, 4))):
        x, y = rng.uniform(0, c.w), rng.uniform(0.1, 0.4)
        d.balloon(c, x, y, 0.08, rng.choice(d.BRIGHT))
    d.cake(c, c.w * rng.uniform(0.4, 0.6), _table(c, rng), rng.uniform(0.45, 0.7), rng)


def flower_meadow(c: Canvas, rng: Random) -> None:
    """Land full of flowers."""
    y = _outdoors(c, rng)
    for row in range(4):
        foot = y + 0.1 + (c.h - y) * row / 4
        for _ in range(rng.randint(3, 6)):
            size = rng.uniform(0.13, 0.18) * (1 + row * 0.3)
            d.flower(c, rng.uniform(0, c.w), foot, size, d.vary(rng.choice(d.BRIGHT), rng), rng)


def rainbow(c: Canvas, rng: Random) -> None:
    """A rainbow over the land."""
    _sky(c, rng, "day", "overcast", "morning")
    x, y, r = c.w * rng.uniform(0.3, 0.7), c.h * 0.75, rng.uniform(0.5, 0.62)
    for i, fill in enumerate(_RAINBOW):
        c.arc(x, y, r - 0.025 * i, 180, 360, (*fill, 210), 0.028)
    y = _ground(c, rng)
    if rng.random() < 0.5:
        d.house(c, rng.uniform(0.2, c.w - 0.2), y + 0.12, 0.25, rng, ruined=False)
    else:
        d.tree(c, rng.uniform(0.1, c.w - 0.1), y + 0.08, 0.35, rng)


def fireworks(c: Canvas, rng: Random) -> None:
    """Fireworks over a town at night."""
    _sky(c, rng, "night", "night", "evening")
    d.skyline(c, c.h, rng)
    for _ in range(rng.randint(2, 5)):
        x, y = rng.uniform(0.15, c.w - 0.15), rng.uniform(0.12, c.h * 0.5)
        d.firework(c, x, y, rng.uniform(0.1, 0.22), rng.choice(d.BRIGHT), rng)


def hearts(c: Canvas, rng: Random) -> None:
    """A card with whole hearts."""
    _wall(c, rng)
    for _ in range(rng.choice((3, 5, 7))):
        x, y = rng.uniform(0.2, c.w - 0.2), rng.uniform(0.2, c.h - 0.2)
        d.heart(c, x, y, rng.uniform(0.15, 0.4), d.vary(rng.choice(_HEART_COLOURS), rng))


def bouquet(c: Canvas, rng: Random) -> None:
    """A pot with flowers in bloom."""
    x, y, size = _pot_place(c, rng)
    for _ in range(rng.randint(3, 6)):
        fill = d.vary(rng.choice(d.BRIGHT), rng)
        tall = rng.uniform(0.28, 0.42)
        d.flower(c, x + rng.uniform(-0.5, 0.5) * size, y - size * 0.9, tall, fill, rng)
    d.pot(c, x, y, size, rng)


def cosy_home(c: Canvas, rng: Random) -> None:
    """A whole house with flowers or balloons in front."""
    y = _outdoors(c, rng) + 0.12
    x = c.w * rng.uniform(0.4, 0.6)
    d.house(c, x, y, rng.uniform(0.5, 0.65), rng, ruined=False)
    for _ in range(rng.randint(4, 8)):
        fill = rng.choice(d.BRIGHT)
        d.flower(c, rng.uniform(0, c.w), y + rng.uniform(0.05, 0.2), 0.16, fill, rng)
    if rng.random() < 0.4:
        for dx in (-0.07, 0.0, 0.07):
            d.balloon(c, x + 0.35 + dx, y - rng.uniform(0.3, 0.4), 0.05, rng.choice(d.BRIGHT))


def storm(c: Canvas, rng: Random) -> None:
    """Rain from dark clouds on land or town, with lightning at times."""
    if rng.random() < 0.5:
        _street(c, rng)
    else:
        _outdoors(c, rng)
    for _ in range(rng.randint(4, 7)):
        dark = rng.randint(60, 110)
        x, y = rng.uniform(0, c.w), rng.uniform(0.0, 0.16)
        d.blob(c, x, y, rng.uniform(0.18, 0.28), (dark, dark, dark + 8), rng)
    if rng.random() < 0.6:
        d.lightning(c, rng.uniform(0.2, c.w - 0.2), rng)
    d.rain(c, rng, rng.randint(60, 160))


def crash(c: Canvas, rng: Random) -> None:
    """A wrecked car on the road."""
    y = _street(c, rng)
    size = rng.uniform(0.55, 0.75)
    d.car(c, c.w * rng.uniform(0.35, 0.5), y + 0.08, size, rng, wrecked=True)
    if rng.random() < 0.6:
        d.flame(c, c.w * 0.45 + size * 0.3, y, rng.uniform(0.18, 0.3), rng)


def ruin(c: Canvas, rng: Random) -> None:
    """A broken house, in any weather."""
    y = _outdoors(c, rng) + 0.12
    d.house(c, c.w * rng.uniform(0.4, 0.6), y, rng.uniform(0.5, 0.65), rng, ruined=True)


def flood(c: Canvas, rng: Random) -> None:
    """Houses up to the windows in brown water, at times in the rain."""
    y = _outdoors(c, rng)
    for i in range(1 + int(c.w)):
        x, size = 0.35 + 0.62 * i, rng.uniform(0.4, 0.5)
        d.house(c, x, y + size * 0.42, size, rng, ruined=False)
    muddy = d.vary((135, 115, 85), rng)
    c.gradient(muddy, d.shade(muddy, 0.7), y + 0.1, c.h)
    for _ in range(25):
        x, wave_y = rng.uniform(0, c.w), rng.uniform(y + 0.12, c.h)
        c.line([(x, wave_y), (x + rng.uniform(0.05, 0.14), wave_y)], d.shade(muddy, 1.25), 0.007)
    if rng.random() < 0.6:
        d.rain(c, rng, rng.randint(60, 120))


def cemetery(c: Canvas, rng: Random) -> None:
    """Graves on a meadow, in any weather."""
    y = _outdoors(c, rng)
    for row in range(3):
        foot = y + 0.1 + (c.h - y) * row / 3
        for _ in range(rng.randint(2, 3)):
            size = rng.uniform(0.17, 0.23) * (1 + 0.25 * row)
            d.tombstone(c, rng.uniform(0.1, c.w - 0.1), foot, size, rng)


def blaze(c: Canvas, rng: Random) -> None:
    """A house or a town on fire, under smoke."""
    _sky(c, rng)
    if rng.random() < 0.5:
        y = _ground(c, rng) + 0.12
        d.house(c, c.w / 2, y, rng.uniform(0.5, 0.65), rng, ruined=rng.random() < 0.5)
    else:
        y = c.h * rng.uniform(0.72, 0.85)
        d.skyline(c, y, rng)
        c.gradient((95, 97, 102), (70, 72, 78), y, c.h)
    for i in range(6):
        dark = rng.randint(45, 90)
        smoke = (dark, dark, dark, 190)
        d.blob(c, c.w / 2 + rng.uniform(-0.1, 0.25) * i / 2, y - 0.35 - 0.1 * i, 0.13 + 0.02 * i,
               smoke, rng)  # fmt: skip
    for _ in range(rng.randint(4, 8)):
        foot = (c.w / 2 + rng.uniform(-0.32, 0.32), y - rng.choice((0.0, 0.15, 0.35)))
        d.flame(c, *foot, rng.uniform(0.14, 0.32), rng)


def broken_hearts(c: Canvas, rng: Random) -> None:
    """A card with broken hearts."""
    _wall(c, rng)
    for _ in range(rng.choice((1, 1, 2))):
        x, y = rng.uniform(0.35, c.w - 0.35), rng.uniform(0.35, c.h - 0.35)
        fill = d.vary(rng.choice(_HEART_COLOURS), rng)
        d.broken_heart(c, x, y, rng.uniform(0.4, 0.6), fill, rng)


def dead_flowers(c: Canvas, rng: Random) -> None:
    """A pot with hanging brown flowers."""
    x, y, size = _pot_place(c, rng)
    for _ in range(rng.randint(2, 4)):
        dx = rng.uniform(-0.4, 0.4) * size
        d.wilted(c, x + dx, y - size * 0.9, rng.uniform(0.28, 0.38), rng)
    d.pot(c, x, y, size, rng)


def green_plant(c: Canvas, rng: Random) -> None:
    """A pot with leaves only."""
    x, y, size = _pot_place(c, rng)
    leaf = d.vary(rng.choice(d.LEAVES), rng)
    for i in range(rng.randint(5, 9)):
        tip_x, tip_y = x + rng.uniform(-0.2, 0.2), y - size - rng.uniform(0.15, 0.35)
        side = 0.03 + 0.005 * (i % 3)
        mid = ((x + tip_x) / 2, (y - size + tip_y) / 2)
        c.polygon(
            [(x, y - size * 0.8), (mid[0] - side, mid[1]), (tip_x, tip_y), (mid[0] + side, mid[1])],
            d.vary(leaf, rng),
        )
    d.pot(c, x, y, size, rng)


def desk(c: Canvas, rng: Random) -> None:
    """A computer on a desk, with a mug or a pile of paper."""
    _wall(c, rng)
    y = _table(c, rng)
    x, size = c.w * rng.uniform(0.4, 0.6), rng.uniform(0.45, 0.6)
    c.rect(x - 0.03, y - 0.12, x + 0.03, y, (90, 92, 96))
    c.ellipse(x, y, 0.12, 0.02, (80, 82, 86))
    c.rounded(x - size / 2, y - 0.1 - size * 0.62, x + size / 2, y - 0.1, 0.015, (45, 47, 52))
    screen = d.vary(rng.choice(((220, 230, 240), (60, 80, 110), (235, 235, 225))), rng)
    left, top = x - size * 0.46, y - 0.1 - size * 0.58
    c.rect(left, top, x + size * 0.46, y - 0.12, screen)
    for i in range(5):
        line_y = top + size * 0.09 * (i + 0.7)
        c.rect(left + 0.03, line_y, left + size * rng.uniform(0.3, 0.8), line_y + 0.012, d.GREY)
    c.rounded(x - 0.2, y + 0.04, x + 0.2, y + 0.09, 0.01, (205, 207, 210))
    if rng.random() < 0.7:
        mug = d.vary(rng.choice(d.BRIGHT + d.MUTED), rng)
        mug_x = x + size / 2 + 0.09
        c.arc(mug_x + 0.05, y - 0.05, 0.035, 0, 360, mug, 0.012)
        c.rounded(mug_x - 0.05, y - 0.11, mug_x + 0.05, y + 0.01, 0.01, mug)


def town(c: Canvas, rng: Random) -> None:
    """Office blocks by a road."""
    _street(c, rng)


def parked_car(c: Canvas, rng: Random) -> None:
    """A whole car on the road."""
    y = _street(c, rng)
    d.car(c, c.w * rng.uniform(0.35, 0.65), y + 0.08, rng.uniform(0.55, 0.75), rng, wrecked=False)


def country_road(c: Canvas, rng: Random) -> None:
    """A straight road to the horizon."""
    y = _outdoors(c, rng) + 0.03
    x = c.w * rng.uniform(0.4, 0.6)
    c.polygon([(x - 0.03, y), (x + 0.03, y), (x + 0.5, c.h), (x - 0.5, c.h)], (100, 102, 106))
    for t in (0.15, 0.35, 0.6, 0.85):
        foot, half = y + (c.h - y) * t, 0.004 + 0.012 * t
        c.rect(x - half, foot, x + half, foot + 0.06 * t + 0.01, (235, 235, 225))


def plain_house(c: Canvas, rng: Random) -> None:
    """A whole house with nothing around."""
    y = _outdoors(c, rng) + 0.12
    d.house(c, c.w * rng.uniform(0.4, 0.6), y, rng.uniform(0.5, 0.65), rng, ruined=False)


def chart(c: Canvas, rng: Random) -> None:
    """A chart of bars, a line or slices."""
    paper = d.vary(rng.choice(((248, 248, 246), (235, 240, 245), (60, 66, 80))), rng, 6)
    c.gradient(paper, paper)
    palette = rng.sample(d.BRIGHT + d.MUTED, 5)
    kind = rng.choice(("bars", "line", "slices"))
    if kind == "slices":
        cuts = [0, *sorted(rng.sample(range(30, 340, 10), 4)), 360]
        for start, end, fill in zip(cuts, cuts[1:], palette, strict=False):
            c.pie(c.w / 2, c.h / 2, 0.34, start, end, fill)
        return
    c.line([(0.12, 0.1), (0.12, c.h - 0.12), (c.w - 0.08, c.h - 0.12)], d.GREY, 0.008)
    count = rng.randint(4, 8)
    step = (c.w - 0.25) / count
    tops = [c.h - 0.12 - rng.uniform(0.1, 0.7) * (c.h - 0.22) for _ in range(count)]
    if kind == "line":
        c.line([(0.15 + step * (i + 0.5), top) for i, top in enumerate(tops)], palette[0], 0.014)
        return
    for i, top in enumerate(tops):
        c.rect(0.15 + step * i, top, 0.15 + step * (i + 0.7), c.h - 0.125, palette[i % 2])


def poster(c: Canvas, rng: Random) -> None:
    """A sheet with a headline and lines of print."""
    wall = _wall(c, rng)
    paper = d.vary(rng.choice(((250, 250, 245), (240, 235, 215), d.shade(wall, 0.5))), rng, 6)
    c.rect(0.12, 0.1, c.w - 0.12, c.h - 0.1, paper)
    ink = d.BLACK if sum(paper) > 380 else d.WHITE
    c.text(c.w / 2, 0.24, rng.choice(POSTER_WORDS), 0.11, ink)
    y = 0.36
    while y < c.h - 0.2:
        c.rect(0.2, y, c.w - 0.2 - rng.uniform(0, 0.25) * c.w, y + 0.018, d.GREY)
        y += rng.choice((0.05, 0.05, 0.09))


def bookshelf(c: Canvas, rng: Random) -> None:
    """Rows of books."""
    wood = d.vary(rng.choice(((120, 80, 50), (200, 165, 120), (230, 228, 222))), rng)
    c.gradient(d.shade(wood, 0.6), d.shade(wood, 0.6))
    rows = rng.randint(2, 4)
    for row in range(rows):
        foot, x = c.h * (row + 1) / rows - 0.03, 0.02
        while x < c.w - 0.03:
            thick = rng.uniform(0.025, 0.07)
            if rng.random() < 0.88:
                top = foot - c.h / rows * rng.uniform(0.55, 0.85)
                c.rect(x, top, x + thick - 0.005, foot, d.vary(rng.choice(d.BRIGHT + d.MUTED), rng))
            x += thick
        c.rect(0, foot, c.w, foot + 0.03, wood)


def _pot_place(c: Canvas, rng: Random) -> tuple[float, float, float]:
    """Paints a room with a table and returns foot (x, y) and height of the pot to be put there."""
    _wall(c, rng)
    y = _table(c, rng)
    return c.w * rng.uniform(0.38, 0.62), y, rng.uniform(0.24, 0.32)


SCENES: dict[Sentiment, tuple[Scene, ...]] = {
    "positive": (
        smiling_people, beach, balloons, birthday, flower_meadow, rainbow,
        fireworks, hearts, bouquet, cosy_home,
    ),
    "negative": (
        sad_people, storm, crash, ruin, flood, cemetery, blaze, broken_hearts,
        dead_flowers,
    ),
    "neutral": (
        plain_portrait, desk, town, parked_car, country_road, plain_house, chart,
        poster, bookshelf, green_plant,
    ),
}  # fmt: skip
"""The scenes of each sentiment, all equally frequent."""


def _size(rng: Random) -> tuple[int, int]:
    """Returns a width and a height within `SIDES`, from portrait to panorama."""
    aspect = rng.choice((0.75, 0.8, 1.0, 1.0, 1.25, 1.33, 1.33, 1.5, 1.78))
    longest = rng.randint(380, SIDES[1])
    short = max(SIDES[0], round(longest / max(aspect, 1 / aspect)))
    return (longest, short) if aspect >= 1 else (short, longest)


def _draw(scene: Scene, size: tuple[int, int], rng: Random) -> Image.Image:
    """Returns one scene in so many pixels."""
    canvas = Canvas(*size)
    scene(canvas, rng)
    return canvas.finish()


def _compose(sentiment: Sentiment, rng: Random) -> Image.Image:
    """Returns a scene of the sentiment, at times beside a neutral one, at times a wrong one."""
    width, height = _size(rng)
    if rng.random() < VAGUE:
        sentiment = rng.choice(tuple(SCENES))
    scene = rng.choice(SCENES[sentiment])
    if rng.random() >= COLLAGE:
        return _draw(scene, (width, height), rng)
    image = Image.new("RGB", (width, height), d.WHITE)
    panel = (width // 2 - 3, height) if width >= height else (width, height // 2 - 3)
    second = (width - panel[0], 0) if width >= height else (0, height - panel[1])
    pair = [scene, rng.choice(SCENES["neutral"])]
    rng.shuffle(pair)
    for part, corner in zip(pair, ((0, 0), second), strict=True):
        image.paste(_draw(part, panel, rng), corner)
    return image


def _crop(image: Image.Image, rng: Random) -> Image.Image:
    """Returns a tilted or cut part of the picture, never smaller than the shortest side."""
    if rng.random() < 0.2:
        image = image.rotate(rng.uniform(-7, 7), Image.Resampling.BILINEAR, fillcolor=d.GREY)
    keep = rng.uniform(0.8, 1.0) if rng.random() < 0.4 else 1.0
    wide, high = (max(SIDES[0], round(side * keep)) for side in image.size)
    x, y = rng.randint(0, image.width - wide), rng.randint(0, image.height - high)
    return image.crop((x, y, x + wide, y + high))


def _light(image: Image.Image, rng: Random) -> Image.Image:
    """Returns the picture in other light: brighter or darker, paler, with a cast, or grey."""
    strong = rng.random() < 0.08
    low, high = (0.5, 1.35) if strong else (0.85, 1.12)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(low, high))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.2 if strong else 0.8, 1.2))
    if rng.random() < 0.1:
        gains = [rng.uniform(0.7, 1.1) for _ in range(3)]
        table = [min(255, round(value * gain)) for gain in gains for value in range(256)]
        image = image.point(table)
    return ImageOps.grayscale(image) if rng.random() < 0.04 else image


def _sensor(image: Image.Image, rng: Random) -> Image.Image:
    """Returns the picture out of focus or grainy, or as it is."""
    if rng.random() < 0.1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 2.5)))
    if rng.random() < 0.2:
        noise = np.random.default_rng(rng.getrandbits(64))
        pixels = np.asarray(image, dtype=np.float32)
        grain = noise.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(3, 18)
        image = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
    return image


def paint(sentiment: Sentiment, rng: Random) -> Image.Image:
    """Draws one picture.

    Args:
        sentiment: What the picture expresses; a share of `VAGUE` shows something else.
        rng: Where all choices come from.

    Returns:
        A picture in RGB, seldom in greys (mode L), with sides of 200 to 500 pixels.
    """
    return _sensor(_light(_crop(_compose(sentiment, rng), rng), rng), rng)
