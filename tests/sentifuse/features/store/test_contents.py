import os
import time
from pathlib import Path

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.features.store import contents
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store import space as store
from sentifuse.features.store.contents import Contents
from sentifuse.features.store.space import EncodedRow, Space, SpaceRecord

DAY = 24 * 3600.0
PARTS = {
    "version": 1,
    "encoder": "0123456789abcdef",
    "split": 3,
    "tokens": True,
    "hidden_dtype": "float16",
    "views": {"flip": True},
    "batch": 16,
    "something": "new",
}


def row(value: int) -> EncodedRow:
    return {"embedding": np.full((1, 4), value, dtype=np.float32)}


def make(root: Path, name: str, shards: int = 1, days_ago: float = 0.0) -> Space:
    """A space of two rows a shard, last used so many days ago."""
    space = Space(root, name)
    for shard in range(shards):
        space.append({f"{shard}.{index}": row(shard) for index in range(2)})
    space.touch(SpaceRecord("image", "clip", PARTS))
    used = time.time() - days_ago * DAY
    os.utime(space.folder / store.RECORD, (used, used))
    return space


def names(spaces: list[Contents]) -> list[str]:
    return [space.name for space in spaces]


def choose(spaces: list[Contents], **options: object) -> list[str]:
    asked = {"unused_days": None, "names": (), "current": None, **options}
    return names(contents.chosen(spaces, **asked))  # type: ignore[arg-type]


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_spaces_are_counted_the_last_used_first(tmp_path: Path) -> None:
    make(tmp_path, "image-1", shards=3, days_ago=2)
    make(tmp_path, "text-1", days_ago=1)
    found = contents.read(tmp_path)
    assert names(found) == ["text-1", "image-1"]
    assert [(space.shards, space.rows) for space in found] == [(1, 2), (3, 6)]
    for space in found:
        assert space.size == sum(path.stat().st_size for path in space.folder.iterdir())
        assert space.garbage == []
    assert abs(time.time() - 2 * DAY - found[1].used) < 60


def test_a_store_that_is_not_there_has_no_spaces(tmp_path: Path) -> None:
    assert contents.read(tmp_path / "store") == []


def test_a_purpose_names_every_part(tmp_path: Path) -> None:
    make(tmp_path, "image-1")
    [space] = contents.read(tmp_path)
    assert space.purpose() == (
        "embeddings, states that enter the last 3 layers, token states in float16, views: flip True, "
        "encoder 0123456789ab, version 1, batch 16, something new"
    )


def test_a_space_without_a_record_is_listed_by_its_shards(tmp_path: Path) -> None:
    space = make(tmp_path, "image-1")
    (space.folder / store.RECORD).unlink()
    for path in space.folder.iterdir():
        os.utime(path, (1000, 1000))
    [found] = contents.read(tmp_path)
    assert (found.record, found.rows, found.used) == (None, 2, 1000)
    assert "earlier version" in found.purpose()


def test_looking_changes_nothing(tmp_path: Path) -> None:
    space = make(tmp_path, "image-1")
    [shard] = space.paths()
    shard.write_bytes(shard.read_bytes()[:20])
    for verify in (False, True):
        assert contents.read(tmp_path, verify)[0].garbage == [shard]
    assert shard.exists()


def test_a_flipped_bit_is_found_by_reading_in_whole(tmp_path: Path) -> None:
    space = make(tmp_path, "image-1", shards=2)
    shard = space.paths()[0]
    damage(shard)
    assert contents.read(tmp_path)[0].garbage == []
    [found] = contents.read(tmp_path, verify=True)
    assert (found.garbage, found.rows) == ([shard], 2)


def test_what_a_killed_run_left_half_written_is_garbage_once_it_is_old(tmp_path: Path) -> None:
    space = make(tmp_path, "image-1")
    young, old = space.folder / ".a.1.part", space.folder / ".b.2.part"
    for path in (young, old):
        path.write_bytes(b"x")
    os.utime(old, (1000, 1000))
    assert contents.read(tmp_path)[0].garbage == [old]


def test_nothing_is_chosen_unless_it_is_asked_for(tmp_path: Path) -> None:
    make(tmp_path, "image-1", days_ago=900)
    assert choose(contents.read(tmp_path)) == []


def test_spaces_are_chosen_by_name_by_use_or_as_all_but_the_current(tmp_path: Path) -> None:
    for name, days in (("a", 0.0), ("b", 5.0), ("c", 50.0)):
        make(tmp_path, name, days_ago=days)
    spaces = contents.read(tmp_path)
    assert choose(spaces, names=["b"]) == ["b"]
    assert choose(spaces, unused_days=3) == ["b", "c"]
    assert choose(spaces, unused_days=30) == ["c"]
    assert choose(spaces, unused_days=30, names=["b"]) == ["b", "c"]
    assert choose(spaces, current={"c"}) == ["a", "b"]
    assert choose(spaces, current={"c"}, unused_days=3) == ["b"]
    assert choose(spaces, current={"c"}, names=["c"]) == []


def test_a_name_that_no_space_has_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a")
    with pytest.raises(UserError, match=r"^--space x: no such space"):
        choose(contents.read(tmp_path), names=["a", "x"])


def test_what_is_removed_is_missing_and_all_else_stays(tmp_path: Path) -> None:
    going, staying = make(tmp_path, "a"), make(tmp_path, "b", shards=2)
    damaged, sound = staying.paths()
    spaces = {space.name: space for space in contents.read(tmp_path)}
    contents.remove(tmp_path, [spaces["a"]], [damaged])
    assert not going.folder.exists()
    assert staying.paths() == [sound]
    assert going.lacking(["0.0"]).all()
    keys = [f"{shard}.{index}" for shard in (0, 1) for index in (0, 1)]
    assert staying.lacking(keys).sum() == 2


def test_nothing_is_removed_while_a_run_uses_the_store(tmp_path: Path) -> None:
    make(tmp_path, "a")
    spaces = contents.read(tmp_path)
    with store_lock.shared(tmp_path), pytest.raises(UserError, match="using the store"):
        contents.remove(tmp_path, spaces, [])
    assert names(contents.read(tmp_path)) == ["a"]


def test_a_file_that_a_run_has_deleted_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"1234")
    assert contents.size([tmp_path / "there", tmp_path / "gone"]) == 4
