"""Pictures with a chosen sentiment: one of its scenes, seen through a poor camera.

Many scenes come in a version per sentiment (a face, a house, a heart, a pot of flowers, a street):
what counts is in the details, not in the palette.
"""

from collections.abc import Callable
from random import Random

from PIL import Image

from demo import camera
from demo.canvas import Canvas
from demo.colours import WHITE
from demo.negative_scenes import NEGATIVE
from demo.neutral_scenes import NEUTRAL
from demo.positive_scenes import POSITIVE
from demo.text import Sentiment

Scene = Callable[[Canvas, Random], None]

COLLAGE = 0.03
"""Share of the pictures that show a neutral scene beside their own."""

VAGUE = 0.02
"""Share of the pictures that do not show what they are labelled with."""

SCENES: dict[Sentiment, tuple[Scene, ...]] = {
    "positive": POSITIVE,
    "negative": NEGATIVE,
    "neutral": NEUTRAL,
}
"""The scenes of each sentiment, all equally frequent."""


def _draw(scene: Scene, size: tuple[int, int], rng: Random) -> Image.Image:
    """Returns one scene in so many pixels."""
    canvas = Canvas(*size)
    scene(canvas, rng)
    return canvas.finish()


def _compose(sentiment: Sentiment, rng: Random) -> Image.Image:
    """Returns a scene of the sentiment, at times beside a neutral one, at times a wrong one."""
    width, height = camera.frame(rng)
    if rng.random() < VAGUE:
        sentiment = rng.choice(tuple(SCENES))
    scene = rng.choice(SCENES[sentiment])
    if rng.random() >= COLLAGE:
        return _draw(scene, (width, height), rng)
    image = Image.new("RGB", (width, height), WHITE)
    panel = (width // 2 - 3, height) if width >= height else (width, height // 2 - 3)
    second = (width - panel[0], 0) if width >= height else (0, height - panel[1])
    pair = [scene, rng.choice(SCENES["neutral"])]
    rng.shuffle(pair)
    for part, corner in zip(pair, ((0, 0), second), strict=True):
        image.paste(_draw(part, panel, rng), corner)
    return image


def paint(sentiment: Sentiment, rng: Random) -> Image.Image:
    """Draws one picture.

    Args:
        sentiment: What the picture expresses; a share of `VAGUE` shows something else.
        rng: Where all choices come from.

    Returns:
        A picture in RGB, seldom in greys (mode L), with sides of 200 to 500 pixels.
    """
    return camera.photograph(_compose(sentiment, rng), rng)
