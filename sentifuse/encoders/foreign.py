"""Reads files of a model that others wrote; an error names the file and the key in one line."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sentifuse.errors import UserError
from sentifuse.runtime import linear

# What git-lfs leaves in place of a large file that it did not fetch.
_POINTER = b"version https://git-lfs"
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Keys:
    """A JSON object of a model; `source`, the model and the file, stands in front of every message."""

    source: str
    values: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default` where it is missing or null."""
        value = self.values.get(key)
        return default if value is None else value

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Says that `key` is missing, or has a value that cannot be used.

        Raises:
            UserError: always.
        """
        found = f"{key}: {self.values[key]!r}" if key in self.values else f"no key {key!r}"
        raise UserError(f"{self.source}: {found}: expected {expected}")


def read_keys(path: Path, model: str) -> Keys:
    """Reads a JSON file of `model`, which stands in front of the messages.

    Raises:
        UserError: the file was not fetched, or is not a JSON object.
    """
    source = f"{model}: {path.name}"
    check_fetched(path, model)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{source}: not JSON ({reason(error)}): fetch it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{source}: not a JSON object: fetch it again")
    return Keys(source, values)


def check_fetched(path: Path, model: str) -> None:
    """Checks that a file of `model` is there; of its contents only the first bytes are read.

    Raises:
        UserError: it is missing, empty, or what git-lfs leaves in its place.
    """
    source = f"{model}: {path.name}"
    if not path.is_file():
        raise UserError(f"{source}: no such file in {path.parent}: fetch it")
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise UserError(
            f"{source}: a pointer of git-lfs, not the file itself: run `git lfs pull` there"
        )
    if not start:
        raise UserError(f"{source}: an empty file: fetch it again")


def load_reporting(kind: Any, name: str, **options: Any) -> tuple[Any, Mapping[str, Any]]:
    """Loads a model of transformers, in eval mode; its linear layers go through oneDNN, as ours do.

    Args:
        kind: the class of the model.
        name: a folder or a hub id.
        options: of `from_pretrained`.

    Returns:
        The model, and transformers' `loading_info`, which the caller must check: weights that are missing or
        have another shape were drawn at random.
    """
    model, report = kind.from_pretrained(
        name, output_loading_info=True, ignore_mismatched_sizes=True, **options
    )
    linear.by_onednn(model)
    return model.eval(), report


@contextmanager
def reading(source: str, remedy: str) -> Iterator[None]:
    """Turns what a library raises over a foreign file into a `UserError` of one line.

    Args:
        source: the model and the file, which stand in front of the message.
        remedy: what the user can do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each library has its own ones for what it cannot read
        raise UserError(f"{source}: cannot be used ({reason(error)}): {remedy}") from error


def reason(error: Exception) -> str:
    """The kind of an error and what it says, in one line, shortened."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
