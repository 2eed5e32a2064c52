"""What is wrong with samples, and what becomes of them: `data.on_bad_sample`.

`error` stops with the list. `skip` leaves bad labelled rows out of training and evaluation; rows to predict
stay, and are predicted from what they have.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from sentifuse.errors import UserError, listed

Policy = Literal["error", "skip"]

COLUMNS = ["guid", "file", "reason", "detail"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one sample.

    Attributes:
        guid: as the label file has it, whatever that is.
        file: the path of the file that it was found in.
        reason: what is wrong, the same words for all samples alike.
        detail: what was found; may be empty.
    """

    guid: str
    file: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        """In one line, whatever the guid and the file name hold."""
        return f"guid {shown(self.guid)}: {shown(self.file)}: {self.reason}{self._behind()}"

    def where(self) -> str:
        """The line without the reason, for a list of samples with one reason."""
        return f"guid {shown(self.guid)}: {shown(self.file)}{self._behind()}"

    def _behind(self) -> str:
        return f" ({self.detail})" if self.detail else ""


def shown(name: str) -> str:
    """`name` as it is, or in quotes with escapes where it could be misread or has line ends."""
    return name if name.isprintable() and name.strip() == name != "" else ascii(name)


def by_reason(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """Reason -> its problems, in the alphabet's order and in the order given."""
    out: dict[str, list[Problem]] = {}
    for problem in problems:
        out.setdefault(problem.reason, []).append(problem)
    return dict(sorted(out.items()))


def table(problems: Sequence[Problem]) -> pd.DataFrame:
    """A row a problem with `COLUMNS`, reason by reason."""
    rows = [asdict(problem) for found in by_reason(problems).values() for problem in found]
    return pd.DataFrame(rows, columns=COLUMNS, dtype=str)


def refuse(root: Path, problems: Sequence[Problem]) -> None:
    """Raises one `UserError` that counts `problems`, if there are any, and lists the first of them."""
    if not problems:
        return
    counted = ", ".join(f"{reason}: {len(found)}" for reason, found in by_reason(problems).items())
    rows = len({problem.guid for problem in problems})
    raise UserError(
        f"{root}: {rows} bad rows ({counted}): {listed(problems)}. Mend them (`python -m sentifuse check "
        f"{root}` lists all), or go on without them: data.on_bad_sample=skip"
    )


def report(
    problems: Sequence[Problem],
    notes: Sequence[Problem],
    *,
    left_out: int,
    missing: Iterable[str],
) -> dict[str, Any]:
    """Counts for `metrics/data.json`.

    Args:
        problems: of all samples.
        notes: what is odd and accepted.
        left_out: labelled rows that are left out.
        missing: what each row to predict lacks: nothing, `image`, `text` or `image+text`.
    """
    counts = Counter(missing)
    return {
        "labelled_left_out": left_out,
        "predicted_without": {kind: counts[kind] for kind in ("image", "text", "image+text")},
        "reasons": {reason: len(found) for reason, found in by_reason(problems).items()},
        "notes": {reason: len(found) for reason, found in by_reason(notes).items()},
    }
