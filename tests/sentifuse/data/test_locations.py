from pathlib import Path

import pytest

from sentifuse.data import locations
from sentifuse.errors import UserError


@pytest.mark.parametrize(
    "raw", [b"", b"plain words", "100 % 😢\n\r\0\"',".encode(), bytes(range(256)), b"%41"]
)
def test_bytes_in_a_location_come_back_and_are_one_printable_line(raw: bytes) -> None:
    location = locations.inline(raw)
    assert location.isprintable()
    assert location.isascii()
    assert not locations.is_file(location)
    assert locations.read(location) == raw


def test_a_file_is_read_under_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "tar 1+2:x.jpg"
    path.write_bytes(b"abc")
    assert locations.is_file(str(path))
    assert locations.read(str(path)) == b"abc"
    assert locations.size(str(path)) == 3


def test_a_part_of_a_tar_file_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "a: b.tar"
    path.write_bytes(b"0123456789")
    location = locations.in_tar(path, 3, 4)
    assert not locations.is_file(location)
    assert (locations.read(location), locations.size(location)) == (b"3456", 4)


def test_a_cell_of_a_parquet_file_is_read_whatever_the_groups_and_the_names(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a: b.parquet"
    values = [str(number).encode() for number in range(10)]
    structs = [{"bytes": value, "path": "x"} for value in values]
    pq.write_table(pa.table({"a:b c": values, "image": structs}), path, row_group_size=4)
    for row in (9, 0, 3, 4, 7, 8):
        assert locations.read(locations.in_parquet(path, "a:b c", row)) == values[row]
        assert locations.read(locations.in_parquet(path, "image.bytes", row)) == values[row]


def test_without_pyarrow_it_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"a\.parquet: .*pip install -r requirements-parquet\.txt"):
        locations.parquet(tmp_path / "a.parquet")
