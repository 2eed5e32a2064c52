"""Single things that stand on the ground: cars, flames, graves, parasols, flower pots."""

from random import Random

from demo.canvas import Canvas
from demo.colours import BLACK, BRIGHT, MUTED, WHITE, Colour, shade, vary
from demo.nature import blob


def car(canvas: Canvas, x: float, y: float, size: float, rng: Random, wrecked: bool) -> None:
    """Draws a car of that length from the side, whole or crashed."""
    paint = vary(rng.choice(BRIGHT + MUTED), rng)
    tall, body = size * 0.2, y - size * 0.08
    _body(canvas, x, body, size, paint, wrecked)
    canvas.polygon(
        [
            (x - size * 0.26, body - tall), (x - size * 0.18, body - tall * 1.5),
            (x - size * 0.03, body - tall * 1.5), (x - size * 0.03, body - tall),
        ],
        (70, 75, 80) if wrecked else (185, 215, 230),
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


def _body(canvas: Canvas, x: float, y: float, size: float, paint: Colour, wrecked: bool) -> None:
    """Draws the sheet metal of a car whose lower edge is at y."""
    tall = size * 0.2
    if wrecked:
        points = [
            (x - size * 0.5, y), (x - size * 0.5, y - tall),
            (x - size * 0.3, y - tall), (x - size * 0.2, y - tall * 1.75),
            (x + size * 0.08, y - tall * 1.55), (x + size * 0.2, y - tall * 0.95),
            (x + size * 0.3, y - tall * 1.15), (x + size * 0.34, y - tall * 0.5),
            (x + size * 0.42, y - tall * 0.65), (x + size * 0.38, y),
        ]  # fmt: skip
    else:
        canvas.rounded(x - size / 2, y - tall, x + size / 2, y, size * 0.05, paint)
        points = [
            (x - size * 0.34, y - tall), (x - size * 0.22, y - tall * 1.9),
            (x + size * 0.14, y - tall * 1.9), (x + size * 0.3, y - tall),
        ]  # fmt: skip
    canvas.polygon(points, paint)


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
    canvas.pie(x, y - size + half, half, (180, 360), stone)
    canvas.text(x, y - size * 0.6, "R.I.P.", size * 0.17, shade(stone, 0.5))


def umbrella(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a striped parasol of that height."""
    canvas.line([(x, y), (x, y - size)], (235, 230, 220), size * 0.035)
    stripe, r = rng.choice(BRIGHT), size * 0.5
    for i in range(6):
        fill = stripe if i % 2 else WHITE
        canvas.pie(x, y - size * 0.55, r, (180 + 30 * i, 210 + 30 * i), fill)


def pot(canvas: Canvas, x: float, y: float, size: float, rng: Random) -> None:
    """Draws a flower pot of that height."""
    clay = vary(rng.choice(((190, 105, 70), (220, 220, 215), (90, 110, 130))), rng)
    half = size * 0.5
    canvas.polygon(
        [(x - half, y - size), (x + half, y - size), (x + half * 0.7, y), (x - half * 0.7, y)], clay
    )
    canvas.rect(x - half * 1.12, y - size, x + half * 1.12, y - size * 0.8, shade(clay, 0.88))
