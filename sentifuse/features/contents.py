"""What is to be encoded, in memory, and the keys of its views. It needs neither torch nor pydantic."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sentifuse.errors import UserError


@dataclass(frozen=True)
class Source:
    """Bytes of an image file or of a text, and what messages call them."""

    name: str
    raw: bytes


def item_key(content: str, view: int) -> str:
    """The store key of view `view` of a file with the content hash `content`; it is the seed of the view."""
    return content if view == 0 else f"{content}.{view}"


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turns what a file that cannot be read or decoded causes into a `UserError` that calls it `name`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{name}: not an image that can be decoded ({error})") from None
