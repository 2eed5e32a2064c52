"""What is known of the demo data: which words are of mood, and where in a picture things are drawn."""

import inspect
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from demo import camera, generate, scenes
from demo.canvas import SUPERSAMPLING, Canvas
from demo.text import EMOJI, MOOD_TAGS

# Of the templates and of the words that fill them, all that praise or blame by themselves.
_MOOD = """
    amazing wonderful fun lovely brilliant awesome perfect fantastic beautiful delightful great
    superb adorable heartwarming sweet excellent magical incredible joy dream smiling happy happier
    proud loved love best grateful laughed thank thanks full hugs excited lucky enjoying congrats
    cheers laughter won awful terrible disappointing horrible disaster painful miserable dreadful
    nightmare pathetic depressing worst disgusting rubbish heartbreaking mess unfair ugly scary
    shame cry cried crying angry sick sad sadder hate never fed broken low ruined stuck sorry
    complaint complain bad let give afraid booing failed stole lost
"""
_TAGS = [f"#{tag}" for mood in ("negative", "positive") for tag in MOOD_TAGS[mood]]
_FACES = {emoji for mood in ("negative", "positive") for emoji in EMOJI[mood]}
_PRIMITIVES = ("ellipse", "rect", "rounded", "polygon", "line", "arc", "pie", "text")
# What draws the place in which things stand.
_BACKDROPS = {
    "sky", "ground", "outdoors", "wall", "table", "pot_place", "street", "skyline",
}  # fmt: skip


def is_of_mood(word: str) -> bool:
    """Whether a word of a demo text, a hashtag or an emoji says by itself what the text feels."""
    return bool(_FACES & set(word)) or _letters(word) in _KNOWN


def _letters(word: str) -> str:
    """Without order: the demo's misspelt words have two letters swapped."""
    return "".join(sorted(word.lower()))


_KNOWN = {_letters(word) for word in [*_MOOD.split(), *_TAGS]}


class ObjectCanvas(Canvas):
    """A canvas that notes which pixels something else than a backdrop has painted."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.mask = Image.new("RGB", self._image.size)
        _canvases.append(self)


# Those that the picture in the making is drawn on.
_canvases: list[ObjectCanvas] = []


def _noted(name: str) -> Callable[..., None]:
    """The method `name` of a canvas, which also paints the mask."""
    draw = getattr(Canvas, name)
    signature = inspect.signature(draw)

    def drawn(self: ObjectCanvas, *args: Any, **kwargs: Any) -> None:
        draw(self, *args, **kwargs)
        if not _in_backdrop():
            bound = signature.bind(self, *args, **kwargs)
            bound.arguments["fill"] = (255, 255, 255)
            visible, self._draw = self._draw, ImageDraw.Draw(self.mask)
            draw(*bound.args, **bound.kwargs)
            self._draw = visible

    return drawn


for _name in _PRIMITIVES:
    setattr(ObjectCanvas, _name, _noted(_name))


def _in_backdrop() -> bool:
    frame: FrameType | None = sys._getframe(2)  # of whoever calls the primitive
    names = set()
    while frame is not None and frame.f_globals["__name__"].startswith("demo."):
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return bool(names & _BACKDROPS)


def objects(*, labelled: int, unlabelled: int, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Guid -> (H, W), where things are, in each picture that `generate` makes with these arguments.

    Pictures are left out that show nothing but a backdrop, and those that show two scenes side by side.
    """
    masks: list[Image.Image | None] = []
    photograph = camera.photograph

    def photographed(image: Image.Image, rng: Random) -> Image.Image:
        twin = Random()
        twin.setstate(rng.getstate())  # the mask is cut as the picture is
        [*_, last] = _canvases
        one = len(_canvases) == 1
        masks.append(camera._crop(last.mask.reduce(SUPERSAMPLING), twin) if one else None)
        _canvases.clear()
        return photograph(image, rng)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(scenes, "Canvas", ObjectCanvas),
        mock.patch.object(camera, "photograph", photographed),
    ):
        generate.generate(Path(folder), labelled=labelled, unlabelled=unlabelled, seed=seed)
    guids, _ = generate._plan_all(labelled, unlabelled, Random(seed))
    found = zip(guids, masks, strict=True)
    things = {guid: np.asarray(mask)[..., 0] > 250 for guid, mask in found if mask is not None}
    return {guid: mask for guid, mask in things.items() if mask.any()}


def by_cell(mask: NDArray[np.bool_], grid: int) -> NDArray[np.float64]:
    """(H, W) -> (grid * grid,), the share of each cell that is True, row by row."""
    height, width = mask.shape
    rows, columns = (
        [round(place * side / grid) for place in range(grid + 1)] for side in (height, width)
    )
    return np.array(
        [
            mask[rows[row] : rows[row + 1], columns[column] : columns[column + 1]].mean()
            for row in range(grid)
            for column in range(grid)
        ]
    )
