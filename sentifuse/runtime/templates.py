"""Templates of jinja2, which lie beside the module that fills them in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def load(path: Path, *, html: bool, filters: Mapping[str, Callable[..., Any]] = {}) -> "Template":
    """The template in the file `path`; a name that it is not given is an error.

    Args:
        path: the file.
        html: whether what is filled in is escaped, as HTML needs it; else a last newline is kept.
        filters: the template's own, by name.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
    environment.filters |= filters
    return environment.get_template(path.name)
