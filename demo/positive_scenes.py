"""Scenes of joy: smiles, parties, holidays, things whole and in bloom."""

from random import Random

from demo import backdrops
from demo.buildings import house, skyline
from demo.canvas import Canvas
from demo.colours import BRIGHT, WHITE, Colour, vary
from demo.festive import HEART_COLOURS, balloon, bunting, cake, firework, heart
from demo.nature import flower, sun, tree
from demo.objects import pot, umbrella

_RAINBOW: tuple[Colour, ...] = (
    (230, 70, 60), (245, 150, 50), (250, 225, 80), (90, 180, 90), (70, 130, 220), (140, 90, 190),
)  # fmt: skip


def smiling_people(c: Canvas, rng: Random) -> None:
    """People who smile, at times below bunting or beside balloons or hearts."""
    backdrops.people(c, rng, 0.6, 1.0)
    extra = rng.random()
    if extra < 0.25:
        bunting(c, rng)
    elif extra < 0.7:
        for x in (0.1, c.w - 0.1):
            if extra < 0.45:
                heart(c, x, rng.uniform(0.15, 0.4), 0.18, rng.choice(HEART_COLOURS))
            else:
                balloon(c, x, rng.uniform(0.2, 0.5), 0.09, rng.choice(BRIGHT))


def beach(c: Canvas, rng: Random) -> None:
    """Sea, sand and parasols in the sun."""
    backdrops.sky(c, rng, "day", "morning", "evening")
    sea, sand = c.h * rng.uniform(0.42, 0.52), c.h * rng.uniform(0.62, 0.72)
    sun(c, rng.uniform(0.15, c.w - 0.15), rng.uniform(0.12, sea - 0.12), rng.uniform(0.07, 0.11))
    c.gradient(vary((50, 130, 190), rng), vary((110, 200, 215), rng), sea, sand)
    c.gradient(vary((240, 215, 155), rng), vary((220, 185, 125), rng), sand, c.h)
    for _ in range(rng.randint(0, 2)):
        x, y = rng.uniform(0.2, c.w - 0.2), sea + 0.04
        c.polygon([(x - 0.07, y), (x + 0.07, y), (x + 0.045, y + 0.03), (x - 0.045, y + 0.03)],
                  (120, 70, 50))  # fmt: skip
        c.polygon([(x, y - 0.01), (x, y - 0.15), (x + 0.07, y - 0.01)], WHITE)
    for _ in range(rng.randint(1, 3)):
        x, y = rng.uniform(0.15, c.w - 0.15), rng.uniform(sand + 0.12, c.h - 0.02)
        umbrella(c, x, y, rng.uniform(0.25, 0.4), rng)
        towel = rng.choice(BRIGHT)
        c.polygon([(x + 0.04, y), (x + 0.24, y), (x + 0.29, y + 0.05), (x + 0.09, y + 0.05)], towel)


def balloons(c: Canvas, rng: Random) -> None:
    """A bunch of balloons, indoors or in the open, at times under bunting."""
    if rng.random() < 0.5:
        backdrops.outdoors(c, rng)
    else:
        backdrops.wall(c, rng)
    if rng.random() < 0.5:
        bunting(c, rng)
    for _ in range(rng.randint(3, 9)):
        x, y = rng.uniform(0.1, c.w - 0.1), rng.uniform(0.2, c.h * 0.65)
        balloon(c, x, y, rng.uniform(0.06, 0.13), vary(rng.choice(BRIGHT), rng))


def birthday(c: Canvas, rng: Random) -> None:
    """A cake with candles, with balloons behind it at times."""
    backdrops.wall(c, rng)
    for _ in range(rng.choice((0, 0, 2, 4))):
        x, y = rng.uniform(0, c.w), rng.uniform(0.1, 0.4)
        balloon(c, x, y, 0.08, rng.choice(BRIGHT))
    cake(c, c.w * rng.uniform(0.4, 0.6), backdrops.table(c, rng), rng.uniform(0.45, 0.7), rng)


def flower_meadow(c: Canvas, rng: Random) -> None:
    """Land full of flowers."""
    y = backdrops.outdoors(c, rng)
    for row in range(4):
        foot = y + 0.1 + (c.h - y) * row / 4
        for _ in range(rng.randint(3, 6)):
            size = rng.uniform(0.13, 0.18) * (1 + row * 0.3)
            flower(c, rng.uniform(0, c.w), foot, size, vary(rng.choice(BRIGHT), rng), rng)


def rainbow(c: Canvas, rng: Random) -> None:
    """A rainbow over the land."""
    backdrops.sky(c, rng, "day", "overcast", "morning")
    x, y, r = c.w * rng.uniform(0.3, 0.7), c.h * 0.75, rng.uniform(0.5, 0.62)
    for i, fill in enumerate(_RAINBOW):
        c.arc(x, y, r - 0.025 * i, (180, 360), (*fill, 210), 0.028)
    y = backdrops.ground(c, rng)
    if rng.random() < 0.5:
        house(c, rng.uniform(0.2, c.w - 0.2), y + 0.12, 0.25, rng, ruined=False)
    else:
        tree(c, rng.uniform(0.1, c.w - 0.1), y + 0.08, 0.35, rng)


def fireworks(c: Canvas, rng: Random) -> None:
    """Fireworks over a town at night."""
    backdrops.sky(c, rng, "night", "night", "evening")
    skyline(c, c.h, rng)
    for _ in range(rng.randint(2, 5)):
        x, y = rng.uniform(0.15, c.w - 0.15), rng.uniform(0.12, c.h * 0.5)
        firework(c, x, y, rng.uniform(0.1, 0.22), rng.choice(BRIGHT), rng)


def hearts(c: Canvas, rng: Random) -> None:
    """A card with whole hearts."""
    backdrops.wall(c, rng)
    for _ in range(rng.choice((3, 5, 7))):
        x, y = rng.uniform(0.2, c.w - 0.2), rng.uniform(0.2, c.h - 0.2)
        heart(c, x, y, rng.uniform(0.15, 0.4), vary(rng.choice(HEART_COLOURS), rng))


def bouquet(c: Canvas, rng: Random) -> None:
    """A pot with flowers in bloom."""
    x, y, size = backdrops.pot_place(c, rng)
    for _ in range(rng.randint(3, 6)):
        fill = vary(rng.choice(BRIGHT), rng)
        tall = rng.uniform(0.28, 0.42)
        flower(c, x + rng.uniform(-0.5, 0.5) * size, y - size * 0.9, tall, fill, rng)
    pot(c, x, y, size, rng)


def cosy_home(c: Canvas, rng: Random) -> None:
    """A whole house with flowers or balloons in front."""
    y = backdrops.outdoors(c, rng) + 0.12
    x = c.w * rng.uniform(0.4, 0.6)
    house(c, x, y, rng.uniform(0.5, 0.65), rng, ruined=False)
    for _ in range(rng.randint(4, 8)):
        fill = rng.choice(BRIGHT)
        flower(c, rng.uniform(0, c.w), y + rng.uniform(0.05, 0.2), 0.16, fill, rng)
    if rng.random() < 0.4:
        for dx in (-0.07, 0.0, 0.07):
            balloon(c, x + 0.35 + dx, y - rng.uniform(0.3, 0.4), 0.05, rng.choice(BRIGHT))


POSITIVE = (
    smiling_people,
    beach,
    balloons,
    birthday,
    flower_meadow,
    rainbow,
    fireworks,
    hearts,
    bouquet,
    cosy_home,
)
