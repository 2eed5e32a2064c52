"""What cards and parties are decorated with: hearts, balloons, bunting, cakes, fireworks."""

from math import cos, pi, sin
from random import Random

from demo.canvas import Canvas, Point
from demo.colours import BRIGHT, WHITE, Colour, shade, vary

HEART_COLOURS: tuple[Colour, ...] = (
    (220, 40, 60), (235, 90, 130), (180, 30, 60), (150, 60, 150), (60, 60, 70),
)  # fmt: skip


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


def balloon(canvas: Canvas, x: float, y: float, r: float, fill: Colour) -> None:
    """Draws a balloon with its string."""
    string = [(x + 0.12 * r * sin(4 * t), y + r * 1.2 + t * r * 1.6) for t in (0, 0.3, 0.6, 1)]
    canvas.line(string, (110, 110, 110), 0.004)
    canvas.polygon(
        [(x, y + r), (x - r * 0.16, y + r * 1.35), (x + r * 0.16, y + r * 1.35)], shade(fill, 0.8)
    )
    canvas.ellipse(x, y, r, r * 1.2, fill)
    canvas.ellipse(x - r * 0.35, y - r * 0.45, r * 0.2, r * 0.3, (255, 255, 255, 120))


def bunting(c: Canvas, rng: Random) -> None:
    """Draws a row of small coloured flags along the upper edge."""
    for i in range(int(c.w / 0.1) + 1):
        x, y = 0.1 * i, 0.05 + 0.03 * (i % 3)
        c.polygon([(x, y), (x + 0.08, y), (x + 0.04, y + 0.1)], rng.choice(BRIGHT))


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


def firework(canvas: Canvas, x: float, y: float, r: float, fill: Colour, rng: Random) -> None:
    """Draws a burst of rays with bright tips."""
    rays = rng.randint(12, 20)
    for i in range(rays):
        angle, long = 2 * pi * i / rays, r * rng.uniform(0.75, 1.0)
        dx, dy = cos(angle), sin(angle)
        inner, tip = (x + dx * r * 0.2, y + dy * r * 0.2), (x + dx * long, y + dy * long)
        canvas.line([inner, tip], (*fill[:3], 190), 0.007)
        canvas.ellipse(*tip, 0.011, 0.011, shade(fill, 1.3))
