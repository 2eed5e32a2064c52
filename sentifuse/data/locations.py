"""Where the bytes of an image or a text lie.

A location is a string of the manifest:

| location | what |
| --- | --- |
| `data/mine/data/1.jpg` | a file |
| `tar:1536+20480:data/mine/a.tar` | 20,480 bytes from byte 1,536 of a tar file on: those of a member |
| `parquet:17:image.bytes:data/mine/a.parquet` | row 17 of a column of a Parquet file |
| `data:,such a day%21` | the bytes themselves, quoted as in URLs (RFC 2397) |

So packed data are read where they are: nothing is unpacked onto the disk.
"""

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, unquote_to_bytes

from sentifuse.errors import UserError

if TYPE_CHECKING:
    import pyarrow.parquet

# All that is printable in ASCII, but for the sign that quotes.
_PLAIN = "".join(map(chr, range(32, 127))).replace("%", "")
_TAR, _PARQUET, _INLINE = "tar:", "parquet:", "data:,"


def in_tar(path: Path, offset: int, size: int) -> str:
    """The location of `size` bytes from byte `offset` of a tar file on."""
    return f"{_TAR}{offset}+{size}:{path.as_posix()}"


def in_parquet(path: Path, column: str, row: int) -> str:
    """The location of a value of a column of bytes; a field of a struct is `column.field`."""
    return f"{_PARQUET}{row}:{quote(column)}:{path.as_posix()}"


def inline(raw: bytes) -> str:
    """The location of bytes that stand in the location itself."""
    return _INLINE + quote(raw, safe=_PLAIN)


def is_file(location: str) -> bool:
    """Whether a location is the path of a file."""
    return not location.startswith((_TAR, _PARQUET, _INLINE))


def read(location: str) -> bytes:
    """The bytes at `location`; none for an empty cell of a Parquet file.

    Raises:
        OSError: they cannot be read.
        UserError: they are in a Parquet file, and nothing is installed that reads it.
    """
    kind, _, rest = location.partition(":")
    if is_file(location):
        return Path(location).read_bytes()
    if location.startswith(_INLINE):
        return unquote_to_bytes(location.removeprefix(_INLINE))
    place, _, rest = rest.partition(":")
    if kind == "tar":
        offset, size = map(int, place.split("+"))
        with Path(rest).open("rb") as file:
            file.seek(offset)
            return file.read(size)
    column, _, path = rest.partition(":")
    return _cell(path, unquote(column), int(place))


def size(location: str) -> int | None:
    """How many bytes `read` gives; None where only reading tells.

    Raises:
        OSError: there is no such file.
    """
    if is_file(location):
        return Path(location).stat().st_size
    if location.startswith(_TAR):
        return int(location.split(":")[1].partition("+")[2])
    return None


def parquet(path: str | Path) -> "pyarrow.parquet.ParquetFile":
    """Opens a Parquet file; its bytes are read as they are asked for.

    Raises:
        OSError: it cannot be read, or is no Parquet file.
        UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{path}: Parquet files need pyarrow: run `pip install -r requirements-parquet.txt`"
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(path, memory_map=True)
    except pyarrow.ArrowInvalid as error:
        raise OSError(f"{path}: not a Parquet file: {error}") from None


def _cell(path: str, column: str, row: int) -> bytes:
    ends = _ends(path)
    group = bisect_right(ends, row)
    values = _values(path, column, group)
    value = values[row - (ends[group - 1] if group else 0)].as_py()
    return bytes(value) if value is not None else b""


@lru_cache(maxsize=256)
def _ends(path: str) -> list[int]:
    """For each group of rows the number of the row behind its last."""
    with parquet(path) as file:
        groups = range(file.num_row_groups)
        return list(accumulate(file.metadata.row_group(group).num_rows for group in groups))


# The rows of a shard of work are mostly in one group, or in two; `tables` refuses files with larger groups.
@lru_cache(maxsize=2)
def _values(path: str, column: str, group: int) -> Any:
    import pyarrow

    name, _, field = column.partition(".")
    try:
        with parquet(path) as file:
            values = file.read_row_group(group, columns=[column]).column(name).combine_chunks()
    except pyarrow.ArrowException as error:
        raise OSError(f"{path}: row group {group} cannot be read: {error}") from None
    return values.field(field) if field else values
