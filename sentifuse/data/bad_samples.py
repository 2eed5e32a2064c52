"""What is wrong with samples, one `Problem` each, and how it is told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd

from sentifuse.errors import UserError, listed


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one sample.

    `guid` is as the label file has it, `file` the path of the file that it was found in, and `reason` the
    same words for all samples alike. `detail` is what was found; it may be empty.
    """

    guid: str
    file: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        """In one line, whatever the guid and the file name hold."""
        return self._line(f": {self.reason}")

    def where(self) -> str:
        """The line without the reason, for a list of samples with one reason."""
        return self._line("")

    def _line(self, reason: str) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"guid {shown(self.guid)}: {shown(self.file)}{reason}{detail}"


def shown(name: str) -> str:
    """`name` as it is, or in quotes with escapes where it could be misread or has line ends."""
    return name if name.isprintable() and name.strip() == name != "" else ascii(name)


def by_reason(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Reason -> its problems in the order given; the reasons are sorted."""
    out: dict[str, list[Problem]] = {}
    for problem in problems:
        out.setdefault(problem.reason, []).append(problem)
    return dict(sorted(out.items()))


def counts(problems: Iterable[Problem]) -> dict[str, int]:
    """Reason -> how many problems have it; the reasons are sorted."""
    return {reason: len(found) for reason, found in by_reason(problems).items()}


def table(problems: Sequence[Problem]) -> pd.DataFrame:
    """One row per problem with the fields of `Problem`, reason by reason."""
    columns = [field.name for field in fields(Problem)]
    ordered = sorted(problems, key=lambda problem: problem.reason)
    return pd.DataFrame(ordered, columns=columns, dtype=str)


def refuse(root: Path, problems: Sequence[Problem]) -> None:
    """Raises one `UserError` that counts `problems`, if there are any, and lists the first of them."""
    if not problems:
        return
    counted = ", ".join(f"{reason}: {count}" for reason, count in counts(problems).items())
    rows = len({problem.guid for problem in problems})
    raise UserError(
        f"{root}: {rows} bad rows ({counted}): {listed(problems)}. Mend them (`python -m sentifuse check "
        f"{root}` lists all), or go on without them: data.on_bad_sample=skip"
    )
