import os
from dataclasses import replace
from pathlib import Path

import pytest

from sentifuse.features.store import space_record
from sentifuse.features.store.space import Space
from sentifuse.features.store.space_record import SpaceRecord

RECORD = SpaceRecord("image", "some/clip", None, {"split": 2, "views": {"flip": True}})


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return Space(tmp_path, "image-1")


def test_a_record_reads_back(space: Space) -> None:
    space_record.touch(space, RECORD)
    assert space_record.read(space.folder) == RECORD
    assert list(space.shards()) == []


def test_each_use_is_noted(space: Space) -> None:
    space_record.touch(space, RECORD)
    path = space.folder / space_record.FILE
    os.utime(path, (1, 1))
    space_record.touch(space, RECORD)
    assert path.stat().st_mtime > 1


def test_the_last_name_of_a_backbone_is_kept(space: Space) -> None:
    space_record.touch(space, RECORD)
    other = replace(RECORD, backbone="a/copy", revision="main")
    space_record.touch(space, other)
    assert space_record.read(space.folder) == other


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"modality": "image"}', b"\xff"])
def test_what_is_no_record_is_none_and_is_written_anew(space: Space, raw: bytes) -> None:
    assert space_record.read(space.folder) is None
    space.folder.mkdir()
    (space.folder / space_record.FILE).write_bytes(raw)
    assert space_record.read(space.folder) is None
    space_record.touch(space, RECORD)
    assert space_record.read(space.folder) == RECORD


def test_where_it_cannot_be_written_a_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    space_record.touch(Space(tmp_path / "file", "image-1"), RECORD)
