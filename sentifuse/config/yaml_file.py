"""Reads YAML as DVC does: by version 1.2, where `5e-06` is a number and `no` is text.

PyYAML follows version 1.1, in which neither holds; `dvc exp run -S stage2.lr_clip=5e-6` writes `5e-06`.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from sentifuse.errors import UserError

_BOOL, _FLOAT = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"


# The loader in C is seven times as fast as the one in Python, and `analyze` reads a lock per experiment.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with the booleans and floats of YAML 1.2."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _FLOAT)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def parse(text: str) -> Any:
    """The document in `text`; None for an empty one.

    Raises:
        ValueError: it is not YAML; the message is one line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise ValueError(" ".join(str(error).split())) from None


def read(path: Path) -> dict[str, Any]:
    """Reads a mapping.

    Raises:
        UserError: no such file, not YAML, or not a mapping at the top level.
    """
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except ValueError as error:  # also of an encoding
        raise UserError(f"{path}: not YAML: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path}: expected a mapping of keys to values")
    return document
