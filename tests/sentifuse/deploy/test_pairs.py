import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentifuse.data.text import TextSpec
from sentifuse.deploy.pairs import Pair, PairReader
from sentifuse.errors import UserError
from tests.sentifuse.deploy.test_predictor import picture

BOTH = PairReader(("image", "text"), [TextSpec()], 10_000, reads_images=False)
TEXTS_IN_IMAGES = PairReader(("text",), [TextSpec()], 10_000, reads_images=True)


def test_a_pair_is_its_bytes() -> None:
    content = BOTH.read(Pair(picture(), "http://x.y"))
    assert {name: source.raw for name, source in content.items()} == {
        "image": picture(), "text": b"http://x.y"
    }  # fmt: skip


def test_a_modality_that_the_model_does_not_read_is_left_out() -> None:
    reader = PairReader(("text",), [TextSpec()], 10_000, reads_images=False)
    assert list(reader.read(Pair(picture(), "good day"))) == ["text"]
    with pytest.raises(UserError, match="the model reads text, and there is none"):
        reader.read(Pair(picture()))


def test_a_model_of_texts_may_read_the_text_in_an_image_beside_one() -> None:
    assert list(TEXTS_IN_IMAGES.read(Pair(picture(), "good day"))) == ["image", "text"]
    with pytest.raises(UserError, match="the model reads text, and there is none"):
        TEXTS_IN_IMAGES.read(Pair(picture()))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"array of shape \(3, 40, 50\): expected \(H, W\), "),
        (np.zeros((0, 4, 3)), r"array of shape \(0, 4, 3\)"),
        (np.zeros(7), r"array of shape \(7,\)"),
        (np.full((4, 4), -1.0), r"-1\.0\.\.-1\.0, expected 0\.\.1, 0\.\.255 or 0\.\.65535"),
        (np.full((4, 4), np.nan), "nan"),
        (np.full((4, 4, 3), "x"), "pixels of type <U1: expected numbers"),
        ([[1, 2], [3, 4]], "list: expected a path, bytes, a binary file, a PIL image or an array"),
        (7, "int: expected"),
        (io.BytesIO(b"no image"), "none of JPEG"),
    ],
)
def test_what_is_no_picture_says_what_is(given: Any, told: str) -> None:
    with pytest.raises(UserError, match=f"^image: not an image that can be read .*{told}"):
        BOTH.read(Pair(given))


@pytest.mark.parametrize("text", [None, "", "  ", "http://x.y @bob"])
def test_nothing_to_read_is_an_error(text: str | None) -> None:
    with pytest.raises(UserError, match="nothing to predict: the model reads image and text"):
        BOTH.read(Pair(text=text))


def test_a_lone_surrogate_is_a_question_mark() -> None:
    assert BOTH.read(Pair(text="good \ud800 day"))["text"].raw == b"good ? day"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jpg: No such file"):
        BOTH.read(Pair(tmp_path / "nowhere.jpg"))


def test_pixels_are_limited_before_decoding() -> None:
    small = PairReader(("image",), [], 1999, reads_images=False)
    with pytest.raises(UserError, match=r"image: .*50 x 40 pixels, more than 1999"):
        small.read(Pair(picture()[:100]))
