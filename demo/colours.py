"""Colours, RGB or RGBA in 0 to 255: palettes of no mood, and colours near a given one."""

from random import Random

Colour = tuple[int, ...]

WHITE: Colour = (250, 250, 248)
BLACK: Colour = (25, 25, 30)
GREY: Colour = (128, 130, 135)

BRIGHT: tuple[Colour, ...] = (
    (231, 76, 60), (241, 196, 15), (46, 164, 79), (52, 152, 219), (155, 89, 182), (255, 128, 60),
    (255, 111, 165), (26, 188, 156),
)  # fmt: skip

MUTED: tuple[Colour, ...] = (
    (120, 100, 90), (90, 105, 120), (140, 130, 115), (105, 120, 105), (125, 105, 125),
    (160, 150, 140), (80, 90, 95),
)  # fmt: skip


def vary(colour: Colour, rng: Random, amount: int = 18) -> Colour:
    """Returns a colour near the given one: each channel moved by at most `amount`."""
    return tuple(min(255, max(0, value + rng.randint(-amount, amount))) for value in colour[:3])


def shade(colour: Colour, factor: float) -> Colour:
    """Returns the colour made darker (factor below 1) or lighter (above 1)."""
    return tuple(min(255, round(value * factor)) for value in colour[:3])
