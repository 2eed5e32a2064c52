import shutil
import subprocess
from pathlib import Path

import pytest

from sentifuse.experiments.tables import Table, escape

NASTY = r"\ { } _ % & # $ ~ ^ < > | a--b --- [x] * café \input{x} %c"
DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def test_text_stands_in_columns_numbers_to_the_right() -> None:
    table = Table(["name", "n"], [["a", "1"], ["longer", "100"], ["", ""]], frozenset({"n"}))
    assert table.text().split("\n") == ["name      n", "a         1", "longer  100", "-         -"]


def test_a_table_without_rows_is_its_head() -> None:
    assert Table(["name", "n"], [], frozenset()).text() == "name  n"


@pytest.mark.parametrize(
    ("plain", "latex"),
    [
        ("stage2.lr_clip", r"stage2.lr\_clip"),
        ("50%", r"50\%"),
        ("\\", r"\textbackslash{}"),
        ("{}", r"\{\}"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a---b", "a-{}-{}-b"),
        ("-1e-05", "-1e-05"),
        ("two\n\nlines", "two lines"),
    ],
)
def test_special_signs_are_escaped(plain: str, latex: str) -> None:
    assert escape(plain) == latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_and_prints_what_it_was_given(tmp_path: Path) -> None:
    table = Table(
        [NASTY, "mean"], [["[256, 64]", "0.5"], ["*", ""], [NASTY, "0.6"]], frozenset({"mean"})
    )
    (tmp_path / "table.tex").write_text(DOCUMENT % table.latex(), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"],
        cwd=tmp_path, capture_output=True, encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")
    if shutil.which("pdftotext"):
        text = subprocess.check_output(
            ["pdftotext", "-layout", "table.pdf", "-"], cwd=tmp_path, encoding="utf-8"
        )
        words = text.split()
        assert words.count("a--b") == words.count("---") == words.count("\\input{x}") == 2
        assert {"[256,", "64]", "*", "<", ">", "|", "%c", "0.5"} <= set(words)
