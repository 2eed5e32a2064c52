"""Houses, whole or in ruins, and the office blocks of a town."""

from random import Random

from demo.canvas import Canvas
from demo.colours import MUTED, WHITE, Colour, shade, vary

PLASTERS: tuple[Colour, ...] = (
    (235, 215, 180), (200, 120, 95), (215, 225, 230), (180, 190, 160),
)  # fmt: skip


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
