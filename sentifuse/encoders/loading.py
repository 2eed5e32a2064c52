"""Whether the weights that a file gives are those that a model asks for.

A loader draws at random what it does not find, anew in every process. So the report of a loader is always
read, and a difference ends the run.
"""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn

from sentifuse.errors import UserError

# The name of a weight, the shape that the file has, and the shape that the model asks for.
Mismatch = tuple[str, Any, Any]


def difference(
    missing: Collection[str], unexpected: Collection[str], mismatched: Collection[Mismatch] = ()
) -> str:
    """How many weights differ in which way, and the first of each; an empty text if none does.

    Args:
        missing: names that the model asks for and the file lacks.
        unexpected: names that the file has and the model does not ask for.
        mismatched: weights that have another shape than the model asks for.
    """
    told = []
    if missing:
        told.append(f"{len(missing)} missing, the first {min(missing)!r}")
    if unexpected:
        told.append(f"{len(unexpected)} unexpected, the first {min(unexpected)!r}")
    if mismatched:
        name, found, wanted = min(mismatched)
        told.append(
            f"{len(mismatched)} of another shape, the first {name!r} with the shape {tuple(found)}, "
            f"expected {tuple(wanted)}"
        )
    return f"weights: {'; '.join(told)}" if told else ""


def prefix(missing: Collection[str], unexpected: Collection[str]) -> str:
    """What stands before the names of all missing weights where the file has them, such as `module.`."""
    first = min(missing, default="")
    for name in sorted(unexpected):
        found = name.removesuffix(first)
        if first and found != name and {f"{found}{each}" for each in missing} <= set(unexpected):
            return found
    return ""


def check(module: nn.Module, given: Mapping[str, Tensor], source: str, remedy: str) -> None:
    """Checks that `given` has just the weights of `module`.

    Args:
        module: the model that they are for.
        given: name -> weight.
        source: where they come from; stands in front of the message.
        remedy: what the user can do.

    Raises:
        UserError: a weight is missing, unexpected or of another shape.
    """
    wanted = module.state_dict()
    mismatched = [
        (name, given[name].shape, wanted[name].shape)
        for name in wanted.keys() & given.keys()
        if given[name].shape != wanted[name].shape
    ]
    told = difference(wanted.keys() - given.keys(), given.keys() - wanted.keys(), mismatched)
    if told:
        raise UserError(f"{source}: {told}: {remedy}")
