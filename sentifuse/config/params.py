"""`params.yaml` -> frozen dataclasses, strictly: a wrong key or value stops before any work.

Each stage file declares a frozen dataclass whose fields are just the top-level keys of `params.yaml`
that it reads, the same ones that `dvc.yaml` lists for it. Constraints are `Annotated` types, checked
by pydantic in strict mode: no `"3"` for 3, no unknown key, no missing key.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from sentifuse.config import yaml_file
from sentifuse.errors import UserError

PARAMS_FILE = Path("params.yaml")

Params = TypeVar("Params")

Count = Annotated[int, Field(ge=0)]
PositiveInt = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# numpy and scikit-learn take 32 bits; one is left for `seed + 1, ...` of repeated runs.
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _unique(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) < len(labels):
        raise ValueError("a label stands twice")
    return labels


ClassNames = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2), AfterValidator(_unique)
]

# A dataclass with this as `__pydantic_config__` refuses keys that it does not know.
STRICT: Any = {"extra": "forbid", "strict": True}


def load(kind: type[Params], path: Path = PARAMS_FILE) -> Params:
    """Reads the top-level keys of `path` that are fields of `kind`, a frozen dataclass.

    Nested sections are dataclasses with `__pydantic_config__ = STRICT`.

    Raises:
        UserError: one line that names the key, the value and what is allowed.
    """
    return parse(kind, read(kind, path), source=str(path))


def read(kind: type[Any], path: Path = PARAMS_FILE) -> dict[str, Any]:
    """The values of the top-level keys of `path` that are fields of `kind`, unchecked, as they stand there.

    Raises:
        UserError: no such file, or not YAML.
    """
    document = yaml_file.read(path)
    wanted = [field.name for field in dataclasses.fields(kind)]
    return {key: document[key] for key in wanted if key in document}


def parse(kind: type[Params], values: dict[str, Any], source: str) -> Params:
    """Checks `values` against `kind`; `source` stands in front of the message.

    Raises:
        UserError: one line that names the first wrong key, its value and what is allowed.
    """
    try:
        # Strict mode refuses a list for a tuple in Python, but not in JSON, which has no tuples.
        return TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UserError(f"{source}: {_describe(error)}") from None


def _describe(error: ValidationError) -> str:
    errors = error.errors()
    start = _key(errors[0]["loc"])
    # The branch of a union that the value fits furthest says what is wrong.
    of_first = [each for each in errors if _key(each["loc"]).startswith(start)]
    first = max(of_first, key=lambda each: len(_path(each["loc"])))
    key, value = _key(first["loc"]), first["input"]
    if first["type"] in ("missing", "missing_argument"):
        return f"{key}: the key is missing"
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{key}: unknown key"
    if first["type"] == "value_error" and isinstance(value, dict):
        # Keys that do not go together; the message names them with their values.
        return f"{key}: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    message = first["msg"][0].lower() + first["msg"][1:]
    hint = ""
    if isinstance(value, str) and _is_number(value):
        hint = " (a number in quotes is text: leave them out)"
    more = len(errors) - len(of_first)
    return f"{key}: {value!r}: {message}{hint}" + (f" (and {more} more)" if more else "")


def _path(location: tuple[int | str, ...]) -> list[str]:
    """The parts of pydantic's path that the file has: a union also names its branches' types."""
    types = ("function-", "dict[", "literal[", "tuple[")
    names = ("literal", "str", "float", "int", "none")
    parts = [str(part) for part in location]
    return [part for part in parts if not part.startswith(types) and part not in names]


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(_path(location))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
