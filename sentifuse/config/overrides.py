"""A named recipe, a YAML file with some keys of `params.yaml`, as options of `dvc exp run`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentifuse.config import yaml_file
from sentifuse.config.params import PARAMS_FILE
from sentifuse.errors import UserError


def as_options(recipe: Path, params: Path = PARAMS_FILE) -> list[str]:
    """Turns each value of `recipe` into two words, such as `-S` and `stage1.epochs=10`.

    None has white space, so that a shell can split them.

    Raises:
        UserError: no such file, not a mapping, a key that `params` lacks, a value with white space.
    """
    known = flat(yaml_file.read(params))
    options = []
    for key, value in flat(yaml_file.read(recipe)).items():
        if key not in known:
            raise UserError(f"{recipe}: {key}: no such key in {params}")
        # DVC takes letters beyond ASCII in quotes only, which `$(...)` leaves in place.
        plain = isinstance(value, str) and value.isascii()
        text = value if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if len(text.split()) != 1:
            raise UserError(f"{recipe}: {key}: {text!r}: a shell would split it; edit {params}")
        options += ["-S", f"{key}={text}"]
    return options


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys and their values; empty sections are left out."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found
