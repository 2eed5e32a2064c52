"""People from the shoulders up, with a mood from frown to smile."""

from random import Random

from demo.canvas import Canvas
from demo.colours import BLACK, BRIGHT, MUTED, WHITE, Colour, shade, vary

SKINS: tuple[Colour, ...] = (
    (255, 219, 190), (241, 194, 155), (224, 172, 125), (198, 134, 90), (141, 85, 52), (92, 58, 40),
)  # fmt: skip

HAIRS: tuple[Colour, ...] = (
    (35, 28, 25), (74, 48, 32), (120, 76, 40), (190, 140, 70), (165, 70, 40), (150, 150, 150),
)  # fmt: skip


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
    canvas.pie(x, y - r * 0.35, r * 1.04, (190, 350), hair)
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
            canvas.arc(x + side * r * 0.36, y, r * 0.25, (0, 360), BLACK, r * 0.045)
        canvas.line([(x - r * 0.11, y), (x + r * 0.11, y)], BLACK, r * 0.045)
