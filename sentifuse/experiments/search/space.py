"""The space of a search: a YAML file that gives keys of `params.yaml` several values.

    fusion: [concat, gated]                                   # a list: one of these
    head.hidden_dims: [[256, 64], [128]]                      # one of these lists
    stage1.lr_head: {low: 1.0e-4, high: 1.0e-2, log: true}    # a range
    stage1.epochs: 20                                         # one value: fixed

Every value is checked as those of `params.yaml` are, before torch is imported.
"""

import difflib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import FiniteFloat

from sentifuse.config import params, recipe, yaml_file
from sentifuse.config.overrides import flat
from sentifuse.config.recipe import Recipe
from sentifuse.errors import UserError
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Sections whose values decide which features or parts there are, so that another value needs `preprocess`.
_OTHER_FEATURES = (
    "augment", "backbone", "data", "labels", "numerics", "split", "unfreeze_text_layers",
    "unfreeze_vision_layers",
)  # fmt: skip
_DIGITS = 3  # significant ones, of a number drawn from a range


@dataclass(frozen=True)
class SearchParams:
    """What a search reads of `params.yaml`."""

    numerics: Numerics
    device: Device
    seed: params.Seed
    labels: params.ClassNames
    split: recipe.Split
    fusion: recipe.Fusion
    input_mode: recipe.InputMode
    head: recipe.Head
    loss: recipe.Loss
    image_views: recipe.ImageViews
    stage1: recipe.Stage1
    stage2: recipe.Stage2

    def __post_init__(self) -> None:
        self.loss.check_labels(self.labels)
        recipe.check_mode(self.fusion, self.input_mode)

    def recipe(self, both_stages: bool) -> Recipe:
        """How to train; without `both_stages` it ends after stage 1."""
        own = {field.name: getattr(self, field.name) for field in fields(Recipe)}
        return Recipe(**own) if both_stages else Recipe(**{**own, "stage2": None})


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


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        path: the file, for messages.
        dimensions: the keys that have several values.
        fixed: those that have one.
        params: values of `params.yaml`, unchanged.
        both_stages: whether stage 2 is trained, too: if the space has a key of it.
        trials: how many to run; None if the file does not say.
    """

    path: Path
    dimensions: Mapping[str, Dimension]
    fixed: Mapping[str, Any]
    params: Mapping[str, Any]
    both_stages: bool
    trials: int | None

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """What optuna draws each key from."""
        return {key: each.distribution() for key, each in self.dimensions.items()}

    def values(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of the space, fixed ones too, with what was `drawn` as values of `params.yaml`."""
        own = {key: each.value(drawn[key]) for key, each in self.dimensions.items()}
        return {**self.fixed, **own}

    def recipe(self, drawn: Mapping[str, Any]) -> Recipe:
        """How to train by what was `drawn`."""
        return self._recipe(self.values(drawn))

    @property
    def default(self) -> Recipe:
        """How `params.yaml` as it stands says to train, in the stages of this search."""
        return params.parse(SearchParams, dict(self.params), "params.yaml").recipe(self.both_stages)

    @property
    def default_drawn(self) -> dict[str, Any] | None:
        """What had to be drawn for the default; None if it is not in the space."""
        own = _given(self.params, _kinds(SearchParams))
        drawn = {key: each.drawn(own[key]) for key, each in self.dimensions.items()}
        outside = None in drawn.values() or any(own[key] != self.fixed[key] for key in self.fixed)
        return None if outside else drawn

    def check(self) -> None:
        """Checks every choice and both ends of each range.

        Raises:
            UserError: one that `params.yaml` may not have, or two that do not go together.
        """
        checked = {key: each.checked for key, each in self.dimensions.items()}
        own = {**self.params, **self.fixed}
        modes = (checked.get(key, [own[key]]) for key in ("fusion", "input_mode"))
        for fusion, mode in itertools.product(*modes):
            try:
                recipe.check_mode(fusion, mode)
            except ValueError as error:
                raise UserError(f"{self.path}: {error}") from None
        for place in range(max(map(len, checked.values()))):
            at = {key: values[min(place, len(values) - 1)] for key, values in checked.items()}
            self._recipe({**self.fixed, **at})

    def _recipe(self, values: Mapping[str, Any]) -> Recipe:
        document = nested(values, self.params)
        return params.parse(SearchParams, document, str(self.path)).recipe(self.both_stages)


def read(path: Path, params_file: Path = params.PARAMS_FILE) -> Space:
    """Reads and checks a space.

    Raises:
        UserError: one line that names the key, its value, and what was expected.
    """
    document = yaml_file.read(path)
    trials = document.pop("trials", None)
    if trials is not None and (type(trials) is not int or trials < 1):
        raise UserError(f"{path}: trials: {trials!r}: expected a number, 1 or more")
    kinds = _kinds(SearchParams)
    given = _given(document, kinds)
    own = params.read(SearchParams, params_file)
    params.parse(SearchParams, own, str(params_file))
    for key in given:
        _check_key(path, key, kinds, params_file)
    several = {key: value for key, value in given.items() if isinstance(value, list | dict)}
    if not several:
        raise UserError(f"{path}: nothing to search: expected a key with a list or a range")
    space = Space(
        path=path,
        dimensions={key: _dimension(path, key, given[key], kinds[key]) for key in several},
        fixed={key: value for key, value in given.items() if key not in several},
        params=own,
        both_stages=any(key.startswith("stage2.") for key in given),
        trials=trials,
    )
    space.check()
    return space


def nested(values: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `document` in which each dotted key of `values` has its value."""
    out = deepcopy(dict(document))
    for key, value in values.items():
        *sections, name = key.split(".")
        section = out
        for each in sections:
            section = section.setdefault(each, {})
        section[name] = value
    return out


def _kinds(section: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> its type, of all that can be searched."""
    hints = get_type_hints(section)
    names = [field.name for field in fields(Recipe if section is SearchParams else section)]
    found: dict[str, Any] = {}
    for name in names:
        key, kind = f"{prefix}{name}", hints[name]
        found |= _kinds(kind, f"{key}.") if is_dataclass(kind) else {key: kind}
    return found


def _given(
    document: Mapping[str, Any], known: Mapping[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Dotted keys and their values, which are mappings where they are ranges."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        section = isinstance(value, dict) and name not in known
        found |= _given(value, known, f"{name}.") if section else {name: value}
    return found


def _check_key(path: Path, key: str, kinds: Mapping[str, Any], params_file: Path) -> None:
    if key in kinds:
        return
    section = key.split(".")[0]
    if section in _OTHER_FEATURES:
        raise UserError(
            f"{path}: {key}: another value needs other features or splits, which a search does not make: "
            f'try each with `dvc exp run -S "{key}=VALUE"` (docs/search.md)'
        )
    if key in flat(yaml_file.read(params_file)):
        raise UserError(f"{path}: {key}: it does not say how to train, so it is not searched")
    near = difflib.get_close_matches(key, kinds, n=3, cutoff=0.5)
    sections = ", ".join(field.name for field in fields(Recipe))
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected a key of {sections}"
    raise UserError(f"{path}: {key}: no such key: {hint}")


def _dimension(path: Path, key: str, value: Any, kind: Any) -> Dimension:
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
