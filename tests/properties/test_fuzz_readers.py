"""The short form of `python -m tests.fuzz_readers`, and that it would see what it looks for."""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from sentifuse.data import images, text
from tests import fuzz_readers
from tools.closure import ROOT


def test_mutated_files_are_read_or_refused() -> None:
    found = fuzz_readers.run(seed=7, start=0, count=400)["found"]
    assert found.total() == 400
    # Mutations that always or never hurt would test nothing.
    for kind in ("image", "text"):
        assert 5 < found[f"{kind}: read"] < 295
    assert found["image: image cut off or damaged"] > 50


def test_unchanged_files_are_all_read() -> None:
    for raw in fuzz_readers.images_of_every_format():
        assert fuzz_readers.read_image(raw) == "image: read"
    for raw in fuzz_readers.texts_of_every_encoding():
        assert fuzz_readers.read_text(raw) == "text: read"


def test_a_case_is_the_same_wherever_it_runs() -> None:
    whole = {number: raw for number, _, raw in fuzz_readers.cases(3, 0, 20)}
    assert {number: raw for number, _, raw in fuzz_readers.cases(3, 12, 4)} == {
        number: whole[number] for number in range(12, 16)
    }


def breaks(raw: bytes) -> str:
    raise IndexError("as an unguarded reader would")


def hangs(raw: bytes) -> str:
    time.sleep(0.2)
    return ""


@pytest.mark.parametrize(("reader", "error"), [(breaks, IndexError), (hangs, AssertionError)])
def test_a_reader_that_breaks_or_hangs_is_found(
    monkeypatch: pytest.MonkeyPatch, reader: Callable[[bytes], str], error: type[Exception]
) -> None:
    monkeypatch.setattr(fuzz_readers, "MAX_SECONDS", 0.1)
    monkeypatch.setattr(fuzz_readers, "read_image", reader)
    with pytest.raises(error):
        fuzz_readers.run(seed=1, start=1, count=1)


def test_a_reader_that_eats_memory_is_found() -> None:
    # In a process of its own: the peak of this one may be high already.
    code = (
        "from tests import fuzz_readers as f\n"
        "f.MAX_SECONDS = 60.0\n"
        "f.read_image = lambda raw: str(len(bytearray(b'x') * (600 * 2**20)))\n"
        "f.run(seed=1, start=1, count=1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 1
    assert "MiB more" in done.stderr


def test_the_limits_are_those_of_the_readers() -> None:
    assert fuzz_readers.MAX_PIXELS < images.MAX_PIXELS
    assert max(map(len, fuzz_readers.texts_of_every_encoding())) < text.MAX_BYTES
