"""Tests of the reader of text in pictures; those that read need RapidOCR."""

import subprocess
import sys

import pytest
from PIL import Image, ImageDraw, ImageFont

from sentifuse.encoders import ocr
from sentifuse.encoders.ocr import Reader
from sentifuse.errors import UserError


@pytest.fixture(scope="module")
def reader() -> Reader:
    pytest.importorskip("rapidocr", reason="RapidOCR is not installed (requirements-ocr.txt)")
    return ocr.load()


def drawn(text: str, size: tuple[int, int] = (640, 480), height: int = 32) -> Image.Image:
    image = Image.new("RGB", size, (250, 250, 240))
    font = ImageFont.load_default(height)
    ImageDraw.Draw(image).text((height, height), text, fill=(20, 20, 60), font=font)
    return image


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (2400, 1800)])
def test_lines_are_read_from_the_top(reader: Reader, size: tuple[int, int]) -> None:
    text = "Keep calm\nand carry on"
    assert reader.read(drawn(text, size, size[0] // 20)) == "Keep calm and carry on"


def test_a_picture_without_text_gives_none(reader: Reader) -> None:
    assert reader.read(drawn("")) == ""
    assert reader.read(Image.effect_noise((300, 200), 80).convert("RGB")) == ""


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (20, 1000), (3000, 60)])
def test_a_picture_of_any_shape_is_looked_at(reader: Reader, size: tuple[int, int]) -> None:
    assert reader.read(Image.new("RGB", size)) == ""


def test_it_says_nothing(reader: Reader, capfd: pytest.CaptureFixture[str]) -> None:
    ocr.load().read(drawn("good day"))
    assert capfd.readouterr() == ("", "")


def test_its_fingerprint_changes_with_the_settings(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ocr.fingerprint()
    assert reader.fingerprint == before
    monkeypatch.setitem(ocr._PARAMS, "Global.text_score", 0.5)
    assert ocr.fingerprint() != before


@pytest.mark.parametrize("package", ["rapidocr", "onnxruntime"])
@pytest.mark.parametrize("what", [ocr.load, ocr.fingerprint, ocr.versions])
def test_a_missing_package_says_how_to_install_it(
    what: object, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rapidocr", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, sys)  # there
    monkeypatch.setitem(sys.modules, package, None)
    assert callable(what)
    with pytest.raises(UserError) as found:
        what()
    told = str(found.value)
    assert told.startswith("backbone.ocr: ")
    assert package in told
    assert told.endswith(": run `pip install -r requirements-ocr.txt`")
    assert "\n" not in told


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, sentifuse.features.preprocessing, sentifuse.deploy.predictor, stages.preprocess\n"
        "print({'rapidocr', 'onnxruntime', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
