"""What is to be encoded, in memory, and the keys of its views. It needs neither torch nor pydantic."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sentifuse.data.images import Box
from sentifuse.errors import UserError


@dataclass(frozen=True)
class Source:
    """Bytes of an image file or of a text.

    Attributes:
        name: what messages call it.
        raw: the bytes.
        covered: parts of the image that are painted over once it is decoded. Its views are drawn by the
            bytes, so they are those of the whole image.
    """

    name: str
    raw: bytes
    covered: tuple[Box, ...] = ()


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
