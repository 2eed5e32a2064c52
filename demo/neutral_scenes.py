"""Scenes of no mood: flat faces, offices, roads, charts, things whole and plain."""

from random import Random

from demo import backdrops
from demo.buildings import house
from demo.canvas import Canvas
from demo.colours import BLACK, BRIGHT, GREY, MUTED, WHITE, shade, vary
from demo.nature import LEAVES
from demo.objects import car, pot

POSTER_WORDS = (
    "NOTICE", "ROOM 12", "MEETING", "OPEN 9-5", "PLATFORM 4", "EXIT", "TIMETABLE", "REPORT",
    "PAGE 7", "AGENDA", "MENU", "LEVEL B",
)  # fmt: skip


def plain_portrait(c: Canvas, rng: Random) -> None:
    """People with a flat mouth."""
    backdrops.people(c, rng, -0.12, 0.12)


def desk(c: Canvas, rng: Random) -> None:
    """A computer on a desk, with a mug or a pile of paper."""
    backdrops.wall(c, rng)
    y = backdrops.table(c, rng)
    x, size = c.w * rng.uniform(0.4, 0.6), rng.uniform(0.45, 0.6)
    c.rect(x - 0.03, y - 0.12, x + 0.03, y, (90, 92, 96))
    c.ellipse(x, y, 0.12, 0.02, (80, 82, 86))
    c.rounded(x - size / 2, y - 0.1 - size * 0.62, x + size / 2, y - 0.1, 0.015, (45, 47, 52))
    screen = vary(rng.choice(((220, 230, 240), (60, 80, 110), (235, 235, 225))), rng)
    left, top = x - size * 0.46, y - 0.1 - size * 0.58
    c.rect(left, top, x + size * 0.46, y - 0.12, screen)
    for i in range(5):
        line_y = top + size * 0.09 * (i + 0.7)
        c.rect(left + 0.03, line_y, left + size * rng.uniform(0.3, 0.8), line_y + 0.012, GREY)
    c.rounded(x - 0.2, y + 0.04, x + 0.2, y + 0.09, 0.01, (205, 207, 210))
    if rng.random() < 0.7:
        mug = vary(rng.choice(BRIGHT + MUTED), rng)
        mug_x = x + size / 2 + 0.09
        c.arc(mug_x + 0.05, y - 0.05, 0.035, (0, 360), mug, 0.012)
        c.rounded(mug_x - 0.05, y - 0.11, mug_x + 0.05, y + 0.01, 0.01, mug)


def town(c: Canvas, rng: Random) -> None:
    """Office blocks by a road."""
    backdrops.street(c, rng)


def parked_car(c: Canvas, rng: Random) -> None:
    """A whole car on the road."""
    y = backdrops.street(c, rng)
    car(c, c.w * rng.uniform(0.35, 0.65), y + 0.08, rng.uniform(0.55, 0.75), rng, wrecked=False)


def country_road(c: Canvas, rng: Random) -> None:
    """A straight road to the horizon."""
    y = backdrops.outdoors(c, rng) + 0.03
    x = c.w * rng.uniform(0.4, 0.6)
    c.polygon([(x - 0.03, y), (x + 0.03, y), (x + 0.5, c.h), (x - 0.5, c.h)], (100, 102, 106))
    for t in (0.15, 0.35, 0.6, 0.85):
        foot, half = y + (c.h - y) * t, 0.004 + 0.012 * t
        c.rect(x - half, foot, x + half, foot + 0.06 * t + 0.01, (235, 235, 225))


def plain_house(c: Canvas, rng: Random) -> None:
    """A whole house with nothing around."""
    y = backdrops.outdoors(c, rng) + 0.12
    house(c, c.w * rng.uniform(0.4, 0.6), y, rng.uniform(0.5, 0.65), rng, ruined=False)


def chart(c: Canvas, rng: Random) -> None:
    """A chart of bars, a line or slices."""
    paper = vary(rng.choice(((248, 248, 246), (235, 240, 245), (60, 66, 80))), rng, 6)
    c.gradient(paper, paper)
    palette = rng.sample(BRIGHT + MUTED, 5)
    kind = rng.choice(("bars", "line", "slices"))
    if kind == "slices":
        cuts = [0, *sorted(rng.sample(range(30, 340, 10), 4)), 360]
        for start, end, fill in zip(cuts, cuts[1:], palette, strict=False):
            c.pie(c.w / 2, c.h / 2, 0.34, (start, end), fill)
        return
    c.line([(0.12, 0.1), (0.12, c.h - 0.12), (c.w - 0.08, c.h - 0.12)], GREY, 0.008)
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
    wall = backdrops.wall(c, rng)
    paper = vary(rng.choice(((250, 250, 245), (240, 235, 215), shade(wall, 0.5))), rng, 6)
    c.rect(0.12, 0.1, c.w - 0.12, c.h - 0.1, paper)
    ink = BLACK if sum(paper) > 380 else WHITE
    c.text(c.w / 2, 0.24, rng.choice(POSTER_WORDS), 0.11, ink)
    y = 0.36
    while y < c.h - 0.2:
        c.rect(0.2, y, c.w - 0.2 - rng.uniform(0, 0.25) * c.w, y + 0.018, GREY)
        y += rng.choice((0.05, 0.05, 0.09))


def bookshelf(c: Canvas, rng: Random) -> None:
    """Rows of books."""
    wood = vary(rng.choice(((120, 80, 50), (200, 165, 120), (230, 228, 222))), rng)
    c.gradient(shade(wood, 0.6), shade(wood, 0.6))
    rows = rng.randint(2, 4)
    for row in range(rows):
        foot, x = c.h * (row + 1) / rows - 0.03, 0.02
        while x < c.w - 0.03:
            thick = rng.uniform(0.025, 0.07)
            if rng.random() < 0.88:
                top = foot - c.h / rows * rng.uniform(0.55, 0.85)
                c.rect(x, top, x + thick - 0.005, foot, vary(rng.choice(BRIGHT + MUTED), rng))
            x += thick
        c.rect(0, foot, c.w, foot + 0.03, wood)


def green_plant(c: Canvas, rng: Random) -> None:
    """A pot with leaves only."""
    x, y, size = backdrops.pot_place(c, rng)
    leaf = vary(rng.choice(LEAVES), rng)
    for i in range(rng.randint(5, 9)):
        tip_x, tip_y = x + rng.uniform(-0.2, 0.2), y - size - rng.uniform(0.15, 0.35)
        side = 0.03 + 0.005 * (i % 3)
        mid = ((x + tip_x) / 2, (y - size + tip_y) / 2)
        c.polygon(
            [(x, y - size * 0.8), (mid[0] - side, mid[1]), (tip_x, tip_y), (mid[0] + side, mid[1])],
            vary(leaf, rng),
        )
    pot(c, x, y, size, rng)


NEUTRAL = (
    plain_portrait,
    desk,
    town,
    parked_car,
    country_road,
    plain_house,
    chart,
    poster,
    bookshelf,
    green_plant,
)
