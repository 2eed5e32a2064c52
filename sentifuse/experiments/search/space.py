"""The space of a search: a YAML file that gives keys of `params.yaml` several values.

    fusion: [concat, gated]                                   # a list: one of these
    head.hidden_dims: [[256, 64], [128]]                      # one of these lists
    stage1.lr_head: {low: 1.0e-4, high: 1.0e-2, log: true}    # a range
    stage1.epochs: 20                                         # one value: fixed

Every value is checked as those of `params.yaml` are, before torch is imported.
"""

import difflib
import itertools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from sentifuse.config import params, recipe, yaml_file
from sentifuse.config.overrides import flat
from sentifuse.config.recipe import Recipe
from sentifuse.errors import UserError
from sentifuse.experiments.search.dimensions import Dimension, dimension
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

# Sections whose values decide which features or parts there are, so that another value needs `preprocess`.
_OTHER_FEATURES = (
    "augment", "backbone", "data", "labels", "numerics", "split", "unfreeze_text_layers",
    "unfreeze_vision_layers",
)  # fmt: skip


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
        dimensions={key: dimension(path, key, given[key], kinds[key]) for key in several},
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
