from pathlib import Path

import numpy as np
from PIL import Image

from sentifuse import plots

COUNTS = np.array([[8, 1, 1], [2, 2, 2], [0, 1, 30]])
LABELS = ["negative", "neutral", "positive"]


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("L"))


def test_the_same_counts_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name, counts in (("a", COUNTS), ("b", COUNTS), ("c", COUNTS + 1)):
        plots.confusion_matrix(counts, LABELS, tmp_path / f"{name}.png")
    first, second, third = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == second
    assert first != third


def test_a_confusion_matrix_without_samples_is_drawn(tmp_path: Path) -> None:
    plots.confusion_matrix(np.zeros((3, 3), dtype=np.int64), LABELS, tmp_path / "none.png")
    assert _pixels(tmp_path / "none.png").std() > 0


def test_a_larger_diagonal_is_darker(tmp_path: Path) -> None:
    plots.confusion_matrix(np.eye(3, dtype=np.int64) * 9, LABELS, tmp_path / "right.png")
    plots.confusion_matrix(np.ones((3, 3), dtype=np.int64), LABELS, tmp_path / "even.png")
    assert _pixels(tmp_path / "right.png").min() <= _pixels(tmp_path / "even.png").min()
    assert (_pixels(tmp_path / "right.png") < 100).sum() > (
        _pixels(tmp_path / "even.png") < 100
    ).sum()


def test_ablation_bars_grow_with_the_number_of_variants(tmp_path: Path) -> None:
    two = {"multimodal": [0.6, 0.7], "text_only": [0.5]}
    plots.ablation(two, "macro-F1", tmp_path / "two.png")
    plots.ablation({**two, "image_only": [0.4, 0.45]}, "macro-F1", tmp_path / "three.png")
    plots.ablation({}, "macro-F1", tmp_path / "none.png")
    heights = [len(_pixels(tmp_path / f"{name}.png")) for name in ("none", "two", "three")]
    assert heights == sorted(set(heights))
