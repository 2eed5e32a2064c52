import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentifuse.experiments.search_figure import draw

SCORES = [0.5, 0.61, 0.55, 0.58]
NAMES = ["a", "the-best", "c", "d"]
COLUMNS = {
    "fusion": ["concat", "gated", "film", "gated"],
    "stage2.lr_clip": [1e-5, 1e-4, 1e-3, 1e-4],
    "backbone.fingerprint": [None, "main", None, None],
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


def text_elements(path: Path) -> list[str]:
    """What is written in an SVG."""
    return re.findall(r"<text [^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def heights(path: Path) -> dict[str, float]:
    """Text -> how far up it stands; an SVG counts downwards."""
    found = re.findall(r'<text [^>]* y="([\d.]+)"[^>]*>([^<]*)</text>', path.read_text("utf-8"))
    return {text: -float(height) for height, text in found}


def test_keys_metric_values_and_the_best_run_are_written(tmp_path: Path) -> None:
    draw(COLUMNS, SCORES, NAMES, "val.macro_f1", tmp_path / "figure.svg")
    words = set(text_elements(tmp_path / "figure.svg"))
    assert {"fusion", "stage2.", "lr_clip", "val.macro_f1", "best: the-best (0.6100)"} <= words
    assert {
        "concat",
        "film",
        "gated",
        "1e-05",
        "0.0001",
        "0.001",
        "null",
        "main",
        "[8, 4]",
    } <= words
    assert "c" not in words


def test_numbers_stand_by_size_above_anything_else(tmp_path: Path) -> None:
    columns = {
        "size": [9, 10, None, "a" * 30],
        "flag": [True, False, True, True],
    }
    draw(columns, SCORES, NAMES, "val.f1", tmp_path / "figure.svg")
    at = heights(tmp_path / "figure.svg")
    assert at["a" * 17 + "…"] < at["null"] < at["9"] < at["10"]
    assert at["false"] < at["true"]


def test_of_many_values_some_are_written(tmp_path: Path) -> None:
    values = [0.5**power for power in range(40)]
    scores = [power / 40 for power in range(40)]
    names = [str(number) for number in range(40)]
    draw({"x": values, "y": values}, scores, names, "val.f1", tmp_path / "figure.svg")
    words = text_elements(tmp_path / "figure.svg")
    written = [word for word in words if word in {f"{value:.4g}" for value in values}]
    assert len(written) == 2 * 7
    assert {"1", "1.819e-12"} <= set(written)


def test_one_hyperparameter_is_a_scatter_plot_over_its_key(tmp_path: Path) -> None:
    for key, said in (("stage2.lr_clip", ">−</tspan>"), ("backbone.fingerprint", ">null<")):
        path = tmp_path / "one.svg"
        draw({key: COLUMNS[key]}, SCORES, NAMES, "val.f1", path)
        assert {key, "val.f1", "best: the-best (0.6100)"} <= set(text_elements(path))
        assert said in path.read_text(encoding="utf-8")


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
