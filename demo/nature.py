"""Nature: clouds, sun, rain, lightning, hills, trees and flowers."""

from math import cos, pi, sin
from random import Random

from demo.canvas import Canvas
from demo.colours import Colour, vary

LEAVES: tuple[Colour, ...] = ((60, 120, 60), (85, 140, 60), (45, 100, 65), (110, 140, 70))


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
