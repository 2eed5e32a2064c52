"""A table of texts, as plain text or as LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_NONE = "-"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # These print as other signs in TeX's own encoding of fonts.
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After a line's end they would be read as its argument.
    "[": "{[}",
    "*": "{*}",
} | {sign: f"\\{sign}" for sign in "_%&#${}"}


@dataclass(frozen=True)
class Table:
    """Rows of texts under names.

    Attributes:
        columns: M names.
        rows: M texts each; an empty one is shown as `-`.
        numbers: which columns stand to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str]

    def text(self) -> str:
        """Columns two spaces apart, without a line end at the end."""
        lines = [self.columns, *([cell or _NONE for cell in row] for row in self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if name in self.numbers else cell.ljust(width)
                for name, cell, width in zip(self.columns, line, widths, strict=True)
            ).rstrip()
            for line in lines
        )

    def latex(self) -> str:
        r"""A `tabular` in the style of booktabs, for `\input` in a float of one's own."""
        kinds = "".join("r" if name in self.numbers else "l" for name in self.columns)
        rows = [[cell or _NONE for cell in row] for row in self.rows]
        return "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                rf"\begin{{tabular}}{{{kinds}}}",
                r"\toprule",
                _latex_row(self.columns),
                r"\midrule",
                *map(_latex_row, rows),
                r"\bottomrule",
                r"\end{tabular}",
                "",
            ]
        )


def escape(text: str) -> str:
    """`text` such that LaTeX prints it as it is, on one line."""
    escaped = "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens would become a dash


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
