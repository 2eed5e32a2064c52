"""One key of a search: the choices or the range that its values are drawn from."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import FiniteFloat

from sentifuse.config import params
from sentifuse.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_DIGITS = 3  # significant ones, of a number drawn from a range


@dataclass(frozen=True)
class Choices:
    """A value out of several, each of which goes by its text."""

    values: Mapping[str, Any]

    @property
    def checked(self) -> Sequence[Any]:
        """The values that stand for all."""
        return list(self.values.values())

    def distribution(self) -> "BaseDistribution":
        """What optuna draws the text from."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(list(self.values))

    def value(self, drawn: Any) -> Any:
        """The value that goes by the text `drawn`."""
        return self.values[drawn]

    def drawn(self, value: Any) -> Any:
        """The text that `value` goes by; None if it is none of the choices."""
        return as_text(value) if as_text(value) in self.values else None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: on a logarithmic scale with `log`, in steps of `step`."""

    __pydantic_config__ = params.STRICT
    low: int | FiniteFloat
    high: int | FiniteFloat
    log: bool = False
    step: int | FiniteFloat | None = None

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ValueError(f"low {self.low}, high {self.high}: expected low below high")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low}: a logarithmic range begins above 0")
        if self.step is None:
            return
        if self.log:
            raise ValueError("log and step: a range has one of the two")
        steps = (self.high - self.low) / self.step if self.step > 0 else 0.5
        if not _whole(steps):
            raise ValueError(f"step {self.step}: expected to lead from low to high in whole steps")

    @property
    def checked(self) -> Sequence[Any]:
        """The values that stand for all."""
        return [self.low, self.high]

    def distribution(self) -> "BaseDistribution":
        """What optuna draws the number from: a whole one if both ends are."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def value(self, drawn: Any) -> Any:
        """`drawn` with three significant digits, so that a recipe is short; a whole number as it is."""
        if isinstance(drawn, int):
            return drawn
        return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def drawn(self, value: Any) -> Any:
        """`value`; None if it is outside, or between two steps."""
        steps = (value - self.low) / self.step if self.step else 0.0
        return value if self.low <= value <= self.high and _whole(steps) else None


Dimension = Choices | Range


def dimension(path: Path, key: str, value: Any, kind: Any) -> Dimension:
    """The dimension that the list or the mapping `value` of a space means.

    Args:
        path: the space's file, for messages.
        key: the key.
        value: what stands there.
        kind: the type of the key's values in `params.yaml`.

    Raises:
        UserError: a range of what is no number, one that is none, or choices that are empty or stand twice.
    """
    if isinstance(value, dict):
        if kind not in (int, float):
            raise UserError(f"{path}: {key}: {value}: not a number, so it needs a list of choices")
        found = params.parse(Range, value, f"{path}: {key}")
        # A rate from 0 to 1 is no whole number.
        return (
            replace(found, low=float(found.low), high=float(found.high)) if kind is float else found
        )
    if not value:
        raise UserError(f"{path}: {key}: an empty list: expected the choices")
    texts = [as_text(each) for each in value]
    for place, text in enumerate(texts):
        if isinstance(value[place], dict):
            raise UserError(f"{path}: {key}: {text}: a recipe cannot carry a mapping as a value")
        if text in texts[:place]:
            raise UserError(f"{path}: {key}: {text}: stands twice")
    return Choices(dict(zip(texts, value, strict=True)))


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _whole(number: float) -> bool:
    return math.isclose(number, round(number), abs_tol=1e-9)
