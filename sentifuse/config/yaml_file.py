"""Reads YAML as DVC does: by version 1.2, where `5e-06` is a number and `no` is text."""

from pathlib import Path
from typing import Any

from sentifuse.errors import UserError


def read(path: Path) -> dict[str, Any]:
    """Reads a mapping.

    Raises:
        UserError: no such file, not YAML, or not a mapping at the top level.
    """
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:  # of `parse`, or not UTF-8
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return document


def parse(text: str) -> Any:
    """The document in `text`; None if it is empty.

    Raises:
        ValueError: not YAML, or a date that no calendar has.
    """
    # Late, for its import sets filters of warnings, and a program that only predicts reads no YAML.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ValueError(str(error)) from None
