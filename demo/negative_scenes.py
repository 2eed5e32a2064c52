"""Scenes of grief and harm: tears, storms, wrecks, graves, things broken and wilted."""

from random import Random

from demo import backdrops
from demo.buildings import house, skyline
from demo.canvas import Canvas
from demo.colours import shade, vary
from demo.festive import HEART_COLOURS, broken_heart
from demo.nature import blob, lightning, rain, wilted
from demo.objects import car, flame, pot, tombstone


def sad_people(c: Canvas, rng: Random) -> None:
    """People who frown or cry, at times in the rain or with a broken heart."""
    backdrops.people(c, rng, -1.0, -0.6)
    extra = rng.random()
    if extra < 0.45:
        rain(c, rng, rng.randint(60, 120))
    elif extra < 0.65:
        broken_heart(c, c.w - 0.14, rng.uniform(0.15, 0.4), 0.24, rng.choice(HEART_COLOURS), rng)


def storm(c: Canvas, rng: Random) -> None:
    """Rain from dark clouds on land or town, with lightning at times."""
    if rng.random() < 0.5:
        backdrops.street(c, rng)
    else:
        backdrops.outdoors(c, rng)
    for _ in range(rng.randint(4, 7)):
        dark = rng.randint(60, 110)
        x, y = rng.uniform(0, c.w), rng.uniform(0.0, 0.16)
        blob(c, x, y, rng.uniform(0.18, 0.28), (dark, dark, dark + 8), rng)
    if rng.random() < 0.6:
        lightning(c, rng.uniform(0.2, c.w - 0.2), rng)
    rain(c, rng, rng.randint(60, 160))


def crash(c: Canvas, rng: Random) -> None:
    """A wrecked car on the road."""
    y = backdrops.street(c, rng)
    size = rng.uniform(0.55, 0.75)
    car(c, c.w * rng.uniform(0.35, 0.5), y + 0.08, size, rng, wrecked=True)
    if rng.random() < 0.6:
        flame(c, c.w * 0.45 + size * 0.3, y, rng.uniform(0.18, 0.3), rng)


def ruin(c: Canvas, rng: Random) -> None:
    """A broken house, in any weather."""
    y = backdrops.outdoors(c, rng) + 0.12
    house(c, c.w * rng.uniform(0.4, 0.6), y, rng.uniform(0.5, 0.65), rng, ruined=True)


def flood(c: Canvas, rng: Random) -> None:
    """Houses up to the windows in brown water, at times in the rain."""
    y = backdrops.outdoors(c, rng)
    for i in range(1 + int(c.w)):
        x, size = 0.35 + 0.62 * i, rng.uniform(0.4, 0.5)
        house(c, x, y + size * 0.42, size, rng, ruined=False)
    muddy = vary((135, 115, 85), rng)
    c.gradient(muddy, shade(muddy, 0.7), y + 0.1, c.h)
    for _ in range(25):
        x, wave_y = rng.uniform(0, c.w), rng.uniform(y + 0.12, c.h)
        c.line([(x, wave_y), (x + rng.uniform(0.05, 0.14), wave_y)], shade(muddy, 1.25), 0.007)
    if rng.random() < 0.6:
        rain(c, rng, rng.randint(60, 120))


def cemetery(c: Canvas, rng: Random) -> None:
    """Graves on a meadow, in any weather."""
    y = backdrops.outdoors(c, rng)
    for row in range(3):
        foot = y + 0.1 + (c.h - y) * row / 3
        for _ in range(rng.randint(2, 3)):
            size = rng.uniform(0.17, 0.23) * (1 + 0.25 * row)
            tombstone(c, rng.uniform(0.1, c.w - 0.1), foot, size, rng)


def blaze(c: Canvas, rng: Random) -> None:
    """A house or a town on fire, under smoke."""
    backdrops.sky(c, rng)
    if rng.random() < 0.5:
        y = backdrops.ground(c, rng) + 0.12
        house(c, c.w / 2, y, rng.uniform(0.5, 0.65), rng, ruined=rng.random() < 0.5)
    else:
        y = c.h * rng.uniform(0.72, 0.85)
        skyline(c, y, rng)
        c.gradient((95, 97, 102), (70, 72, 78), y, c.h)
    for i in range(6):
        dark = rng.randint(45, 90)
        smoke = (dark, dark, dark, 190)
        blob(c, c.w / 2 + rng.uniform(-0.1, 0.25) * i / 2, y - 0.35 - 0.1 * i, 0.13 + 0.02 * i,
               smoke, rng)  # fmt: skip
    for _ in range(rng.randint(4, 8)):
        foot = (c.w / 2 + rng.uniform(-0.32, 0.32), y - rng.choice((0.0, 0.15, 0.35)))
        flame(c, *foot, rng.uniform(0.14, 0.32), rng)


def broken_hearts(c: Canvas, rng: Random) -> None:
    """A card with broken hearts."""
    backdrops.wall(c, rng)
    for _ in range(rng.choice((1, 1, 2))):
        x, y = rng.uniform(0.35, c.w - 0.35), rng.uniform(0.35, c.h - 0.35)
        fill = vary(rng.choice(HEART_COLOURS), rng)
        broken_heart(c, x, y, rng.uniform(0.4, 0.6), fill, rng)


def dead_flowers(c: Canvas, rng: Random) -> None:
    """A pot with hanging brown flowers."""
    x, y, size = backdrops.pot_place(c, rng)
    for _ in range(rng.randint(2, 4)):
        dx = rng.uniform(-0.4, 0.4) * size
        wilted(c, x + dx, y - size * 0.9, rng.uniform(0.28, 0.38), rng)
    pot(c, x, y, size, rng)


NEGATIVE = (
    sad_people,
    storm,
    crash,
    ruin,
    flood,
    cemetery,
    blaze,
    broken_hearts,
    dead_flowers,
)
