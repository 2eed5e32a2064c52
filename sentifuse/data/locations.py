"""Where the bytes of an image or a text lie.

A location is a string of the manifest: the path of a file.
"""

from pathlib import Path


def read(location: str) -> bytes:
    """The bytes at `location`.

    Raises:
        OSError: they cannot be read.
    """
    return Path(location).read_bytes()
