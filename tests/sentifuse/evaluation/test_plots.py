import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sentifuse.evaluation import plots
from sentifuse.metrics import calibration

COUNTS = np.array([[8, 1, 1], [2, 2, 2], [0, 1, 30]])
LABELS = ["negative", "neutral", "positive"]
RUNS = {"multimodal": [0.6, 0.7], "text_only": [0.5]}
ROWS = {
    "text_only": {"accuracy": (-3.1, -5.0, -1.0), "macro_f1": (-2.0, -6.0, 2.0)},
    "image_only": {"accuracy": (4.0, 1.0, 7.0), "macro_f1": (0.0, 0.0, 0.0)},
}
HISTORY = pd.DataFrame(
    {"epoch": [1, 2], "train_loss": [1.0, 0.5], "val_loss": [1.1, 0.9], "val_macro_f1": [0.3, 0.6]}
)
CONFIDENCE, CORRECT = np.linspace(0.34, 0.99, 30), np.arange(30) % 3 > 0


def reliability() -> pd.DataFrame:
    table = calibration.reliability(CONFIDENCE, CORRECT, 5)
    return pd.concat([table.assign(temperature=when) for when in ("before", "after")])


TITLES = {"before": "before", "after": "T = 1.3"}
DRAWN: dict[str, Callable[[], Figure]] = {
    "confusion_matrix": lambda: plots.confusion_matrix(COUNTS, LABELS),
    "ablation": lambda: plots.ablation(RUNS, "macro-F1"),
    "intervals": lambda: plots.intervals(ROWS, zero=True),
    "learning_curves": lambda: plots.learning_curves(
        {"stage 1": HISTORY, "stage 2": HISTORY}, [2, 0]
    ),
    "reliability": lambda: plots.reliability(reliability(), TITLES),
    "risk_coverage": lambda: plots.risk_coverage(calibration.risk_coverage(CONFIDENCE, CORRECT)),
}
EMPTY: dict[str, Callable[[], Figure]] = {
    "confusion_matrix": lambda: plots.confusion_matrix(np.zeros((3, 3), dtype=np.int64), LABELS),
    "ablation": lambda: plots.ablation({}, "macro-F1"),
    "intervals": lambda: plots.intervals({}, zero=False),
    "no_validation": lambda: plots.learning_curves(
        {"stage 1": HISTORY[["epoch", "train_loss"]]}, [0]
    ),
    "no_epochs": lambda: plots.learning_curves({"stage 1": HISTORY[:0]}, [0]),
    "reliability": lambda: plots.reliability(reliability()[:0], TITLES),
    "risk_coverage": lambda: plots.risk_coverage(pd.DataFrame(columns=calibration.RISK_COVERAGE)),
}


def pixels(figure: Figure, path: Path) -> np.ndarray:
    plots.save(figure, path)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("L"))


def words(document: str) -> list[str]:
    return [
        text
        for node in ElementTree.fromstring(document).iter("{http://www.w3.org/2000/svg}text")
        if (text := "".join(node.itertext()).strip())
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_give_the_same_document(name: str) -> None:
    assert plots.svg(DRAWN[name]()) == plots.svg(DRAWN[name]())


def test_the_same_counts_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name, counts in (("a", COUNTS), ("b", COUNTS), ("c", COUNTS + 1)):
        plots.save(plots.confusion_matrix(counts, LABELS), tmp_path / "new" / f"{name}.png")
    first, second, third = ((tmp_path / "new" / f"{name}.png").read_bytes() for name in "abc")
    assert first == second
    assert first != third


@pytest.mark.parametrize("name", EMPTY)
def test_without_data_there_is_a_picture_still(name: str, tmp_path: Path) -> None:
    assert pixels(EMPTY[name](), tmp_path / "none.png").std() > 0


def test_a_larger_diagonal_is_darker(tmp_path: Path) -> None:
    right, even = (
        pixels(plots.confusion_matrix(counts, LABELS), tmp_path / "matrix.png")
        for counts in (np.eye(3, dtype=np.int64) * 9, np.ones((3, 3), dtype=np.int64))
    )
    assert right.min() <= even.min()
    assert (right < 100).sum() > (even < 100).sum()


def test_a_confusion_matrix_tells_counts_shares_and_names() -> None:
    found = words(plots.svg(plots.confusion_matrix(COUNTS, LABELS)))
    assert {"negative", "neutral", "positive", "actual", "predicted"} <= set(found)
    assert "test part, 47 samples" in found
    assert "80%" in found
    assert "30" in found


def test_ablation_bars_grow_with_the_number_of_variants(tmp_path: Path) -> None:
    three = {**RUNS, "image_only": [0.4, 0.45]}
    heights = [
        len(pixels(plots.ablation(scores, "macro-F1"), tmp_path / "bars.png"))
        for scores in ({}, RUNS, three)
    ]
    assert heights == sorted(set(heights))


def test_ablation_has_a_bar_at_each_mean_and_a_point_a_run() -> None:
    [axes] = plots.ablation(RUNS, "macro-F1").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.65, 0.5])
    points = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [list(values) for values in points] == [[0.6, 0.7], [0.5]]


def test_differences_are_told_with_a_sign_and_those_clear_of_zero_stand_out() -> None:
    figure = plots.intervals(ROWS, zero=True)
    accuracy, macro = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["accuracy", "macro_f1"]
    assert [text.get_text() for text in accuracy.texts] == ["-3.1", "+4.0"]
    colours = [{text.get_color() for text in axes.texts} for axes in (accuracy, macro)]
    assert [len(each) for each in colours] == [1, 1]
    assert colours[0] != colours[1]


def test_rows_are_named_from_the_top() -> None:
    axes = plots.intervals(ROWS, zero=False).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["text only", "image only"]
    bottom, top = axes.get_ylim()
    assert bottom > top


def test_a_bin_of_the_reliability_diagram_is_as_high_as_its_accuracy() -> None:
    table = reliability()
    before, after = plots.reliability(table, TITLES).axes
    assert (before.get_title(), after.get_title()) == ("before", "T = 1.3")
    expected = table[table["temperature"] == "before"]
    assert [bar.get_height() for bar in before.patches] == pytest.approx(list(expected["accuracy"]))
    assert [bar.get_x() for bar in before.patches] == pytest.approx(list(expected["low"]))


def test_an_svg_has_text_and_neither_date_nor_program() -> None:
    document = plots.svg(plots.ablation(RUNS, "macro-F1"))
    assert {"multimodal", "text only"} <= set(words(document))
    assert "Matplotlib" not in document
    assert "dc:date" not in document
