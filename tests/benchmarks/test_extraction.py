"""That every line of the benchmark works; its figures are for `python -m benchmarks`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import extraction
from sentifuse.features.engines import local
from sentifuse.runtime import precision
from tests.serial_pool import SerialPool


@pytest.mark.parametrize(
    ("fast_in", "targets"),
    [("bf16", [1.6, 4.0, 3.5, 0.9999, 0.9999, None]), ("fp32", [1.5, 3.0, None])],
)
def test_the_short_form_measures_what_the_processor_is_fast_in(
    fast_in: str, targets: list[float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "resolve", lambda wanted: fast_in)
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    monkeypatch.setattr(extraction, "ProcessPoolExecutor", SerialPool)
    found = extraction.measure(tmp_path, short=True)
    assert [each.target for each in found] == targets
    assert {each.part for each in found} == {"extraction"}
    assert all(each.ours > 0 and each.theirs > 0 and each.ratio > 0 for each in found)
    cosines = [each.ratio for each in found if each.target == 0.9999]
    assert all(0.99 < value <= 1 for value in cosines)


def test_inputs_are_as_large_as_is_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = Path(extraction.picture(tmp_path / "a.jpg", rng).path)
    with Image.open(picture) as image:
        assert image.size == (640, 480)
    assert 35_000 < picture.stat().st_size < 55_000
    texts = [Path(extraction._tweet(tmp_path / f"{n}.txt", rng).path) for n in range(300)]
    tokens = [len(text.read_text().split()) + 2 for text in texts]
    assert 4 <= min(tokens) < max(tokens) <= 60
    assert 19.5 < np.mean(tokens) < 22.5
