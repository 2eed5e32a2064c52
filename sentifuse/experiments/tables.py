"""A table of texts, as plain text or as LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LATEX = {
    **{sign: f"\\{sign}" for sign in "_%&#${}"},
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
}


@dataclass(frozen=True)
class Table:
    """Rows of texts; an empty one is shown as `-`. The columns in `numbers` stand to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str]

    def text(self) -> str:
        """Columns two spaces apart, without a line end at the end."""
        lines = [self.columns, *self._filled_rows()]
        columns = []
        for name, cells in zip(self.columns, zip(*lines, strict=True), strict=True):
            adjust = str.rjust if name in self.numbers else str.ljust
            width = max(map(len, cells))
            columns.append([adjust(cell, width) for cell in cells])
        return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))

    def latex(self) -> str:
        r"""A `tabular` in the style of booktabs, for `\input` in a float of one's own."""
        import pandas as pd

        kinds = "".join("r" if name in self.numbers else "l" for name in self.columns)
        head, *rows = [
            [escape(cell) for cell in line] for line in (self.columns, *self._filled_rows())
        ]
        table = pd.DataFrame(rows, columns=head)
        latex = table.to_latex(index=False, escape=False, column_format=kinds)
        return f"% needs \\usepackage{{booktabs}}\n{latex}"

    def _filled_rows(self) -> list[list[str]]:
        return [[cell or "-" for cell in row] for row in self.rows]


def escape(text: str) -> str:
    """`text` such that LaTeX prints it as it is, on one line."""
    escaped = "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return re.sub("-(?=-)", "-{}", escaped)  # two hyphens would become a dash
