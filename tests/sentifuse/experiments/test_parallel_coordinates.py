from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentifuse.experiments.parallel_coordinates import draw

SCORES = [0.5, 0.61, 0.55, 0.58]
NAMES = ["a", "the-best", "c", "d"]
COLUMNS = {
    "fusion": ["concat", "gated", "film", "gated"],
    "stage2.lr_clip": [1e-5, 1e-4, 1e-3, 1e-4],
    "backbone.revision": [None, "main", None, None],
    "head.hidden_dims": [[], [8], [8, 4], []],
}


@pytest.mark.parametrize("keys", [1, 2, 4])
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_runs_give_the_same_bytes_and_others_do_not(
    keys: int, suffix: str, tmp_path: Path
) -> None:
    columns = dict(list(COLUMNS.items())[:keys])
    for name, scores in (("a", SCORES), ("b", SCORES), ("c", SCORES[::-1])):
        draw(columns, scores, NAMES, "val.macro_f1", tmp_path / f"{name}{suffix}")
    first, second, third = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
    assert first == second
    assert first != third


def test_keys_metric_values_and_the_best_run_are_written(tmp_path: Path) -> None:
    draw(COLUMNS, SCORES, NAMES, "val.macro_f1", tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    for word in (
        "fusion",
        "lr_clip (log)",
        "macro_f1",
        "gated",
        "1e-4",
        "null",
        "8, 4",
        "the-best",
    ):
        assert f"<!-- {word} -->" in text
    assert "<!-- c -->" not in text


def test_one_hyperparameter_is_a_scatter_plot_over_its_key(tmp_path: Path) -> None:
    draw(
        {"stage2.lr_clip": COLUMNS["stage2.lr_clip"]}, SCORES, NAMES, "val.f1", tmp_path / "one.svg"
    )
    text = (tmp_path / "one.svg").read_text(encoding="utf-8")
    for word in ("stage2.lr_clip (log)", "val.f1", "1e-3", "the-best"):
        assert f"<!-- {word} -->" in text


def test_more_axes_make_a_wider_figure(tmp_path: Path) -> None:
    widths = []
    for keys in (2, 3, 4):
        path = tmp_path / f"{keys}.png"
        draw(dict(list(COLUMNS.items())[:keys]), SCORES, NAMES, "val.macro_f1", path)
        with Image.open(path) as image:
            widths.append(image.width)
            assert np.asarray(image.convert("L")).std() > 10
    assert widths == sorted(set(widths))


@pytest.mark.parametrize("keys", [1, 4])
def test_equal_scores_and_single_runs_are_drawn(keys: int, tmp_path: Path) -> None:
    columns = dict(list(COLUMNS.items())[:keys])
    draw(columns, [0.5] * 4, NAMES, "val.macro_f1", tmp_path / "level.png")
    single = {key: values[:1] for key, values in columns.items()}
    draw(single, [0.5], ["a"], "val.macro_f1", tmp_path / "single.png")
