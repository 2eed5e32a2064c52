import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentifuse.features.key_table import KeyTable
from sentifuse.features.store import space as store
from sentifuse.features.store.space import EncodedRow, Space, SpaceRecord, default_root

RECORD = SpaceRecord("image", "some/clip", {"split": 2, "views": {"flip": True}})


def row(value: int, length: int = 2) -> EncodedRow:
    """An embedding, and tokens of which each row may have another number."""
    return {
        "embedding": np.full((1, 4), value, dtype=np.float32),
        "tokens": np.full((length, 3), value + 0.5, dtype=np.float16),
    }


def missing(space: Space, *keys: str) -> list[str]:
    return [key for key, lacks in zip(keys, space.lacking(keys), strict=True) if lacks]


def rows(space: Space, *keys: str) -> dict[str, EncodedRow]:
    """Those of `keys` that the space has, in the order of its shards."""
    return {keys[places[0]]: found for places, found in space.rows(KeyTable(keys))}


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return Space(tmp_path / "store", "image-abc")


def assert_same(found: EncodedRow, expected: EncodedRow) -> None:
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_new_space_is_empty_and_makes_no_folder(space: Space) -> None:
    assert list(space.shards()) == []
    assert missing(space, "a") == ["a"]
    assert rows(space, "a") == {}
    assert not space.folder.exists()


def test_rows_come_back_with_their_names_dtypes_and_lengths(space: Space) -> None:
    written = {"a": row(1, 5), "b": row(2, 0), "c": row(3, 1)}
    space.append(written)
    found = rows(space, "a", "b", "c")
    assert list(found) == ["a", "b", "c"]
    for key, expected in written.items():
        assert_same(found[key], expected)


def test_only_wanted_rows_come_back_from_any_shard(space: Space) -> None:
    space.append({"a": row(1), "b": row(2)})
    space.append({"c": row(3)})
    found = rows(space, "b", "c", "nowhere")
    assert set(found) == {"b", "c"}
    assert_same(found["b"], row(2))
    assert_same(found["c"], row(3))


def test_missing_keeps_the_order_and_drops_repeats(space: Space) -> None:
    space.append({"b": row(2)})
    assert missing(space, "c", "b", "a", "c") == ["c", "a"]


def test_a_second_space_and_a_second_process_see_their_own(tmp_path: Path) -> None:
    one, other = Space(tmp_path, "image-1"), Space(tmp_path, "image-2")
    one.append({"a": row(1)})
    assert missing(other, "a") == ["a"]
    assert missing(Space(tmp_path, "image-1"), "a") == []


def test_a_key_in_two_shards_comes_back_once(space: Space) -> None:
    space.append({"a": row(1), "b": row(2)})
    space.append({"a": row(1), "c": row(3)})
    assert len(list(space.shards())) == 2
    assert sorted(rows(space, "a", "b", "c")) == ["a", "b", "c"]


def test_the_same_rows_make_the_same_shard(space: Space) -> None:
    assert space.append({"a": row(1)}) == space.append({"a": row(1)})
    assert len(list(space.folder.iterdir())) == 1


def test_shards_are_listed_with_their_keys_in_order(space: Space) -> None:
    path = space.append({"b": row(2), "a": row(1)})
    assert [(shard.path, shard.keys) for shard in space.shards()] == [(path, ["b", "a"])]


def test_a_half_written_shard_is_ignored(space: Space) -> None:
    path = space.append({"a": row(1)})
    partial = path.with_name(f".{path.name}.123.part")
    path.rename(partial)
    assert missing(space, "a") == ["a"]
    assert rows(space, "a") == {}
    assert partial.exists(), "another run may be writing it"


def test_a_write_that_fails_leaves_no_shard(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*args: object) -> None:
        raise OSError("killed")

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(OSError, match="killed"):
        space.append({"a": row(1)})
    assert list(space.shards()) == []
    monkeypatch.undo()
    space.append({"a": row(1)})
    assert missing(space, "a") == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_shard_that_is_cut_off_is_removed_and_its_rows_are_missing(
    space: Space, share: float
) -> None:
    path = space.append({"a": row(1)})
    space.append({"b": row(2)})
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    assert missing(space, "a", "b") == ["a"]
    assert not path.exists()
    assert list(rows(space, "a", "b")) == ["b"]


def test_a_flipped_bit_anywhere_is_found_when_rows_are_read(space: Space) -> None:
    path = space.append({"a": row(1), "b": row(2)})
    raw = path.read_bytes()
    for position in range(0, len(raw), 7):
        flipped = bytearray(raw)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        assert rows(space, "a", "b") == {}, position
        # Gone, or its keys were damaged and name rows that nobody asks for.
        assert "a" in missing(space, "a") or not path.exists(), position
        path.unlink(missing_ok=True)


def test_rows_that_were_damaged_can_be_written_again(space: Space) -> None:
    path = space.append({"a": row(1)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert rows(space, "a") == {}
    assert missing(space, "a") == ["a"]
    assert space.append({"a": row(1)}) == path
    assert_same(rows(space, "a")["a"], row(1))


def test_a_damaged_shard_does_not_hide_a_sound_one_with_the_same_row(space: Space) -> None:
    paths = [space.append({"a": row(1)}), space.append({"a": row(1), "b": row(2)})]
    first = min(paths)
    raw = bytearray(first.read_bytes())
    raw[-1] ^= 1
    first.write_bytes(raw)
    assert_same(rows(space, "a")["a"], row(1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_shard_with_an_embedding_that_is_no_number_is_encoded_again(
    value: float, space: Space
) -> None:
    """Such as were written before embeddings were checked."""
    bad = row(2)
    bad["embedding"][0, 3] = value
    space.append({"a": row(1), "b": bad})
    space.append({"c": row(3)})
    assert set(rows(space, "a", "b", "c")) == {"c"}
    assert missing(space, "a", "b", "c") == ["a", "b"]


def test_the_store_lies_in_the_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert default_root() == Path(".sentifuse/store")


def test_under_dvc_the_store_lies_in_the_main_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert default_root() == tmp_path / ".sentifuse" / "store"


def test_a_record_reads_back(space: Space) -> None:
    space.touch(RECORD)
    assert space.record() == RECORD
    assert list(space.shards()) == []


def test_each_use_is_noted(space: Space) -> None:
    space.touch(RECORD)
    path = space.folder / store.RECORD
    os.utime(path, (1, 1))
    space.touch(RECORD)
    assert path.stat().st_mtime > 1


def test_the_last_name_of_an_encoder_is_kept(space: Space) -> None:
    space.touch(RECORD)
    other = replace(RECORD, encoder="a/copy@main")
    assert other.name == RECORD.name
    space.touch(other)
    assert space.record() == other


# A record of the time when a space had a backbone, and other files that are none.
OLD = b'{"modality": "image", "backbone": "some/clip", "revision": null, "parts": {}}'


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"modality": "image"}', b"\xff", OLD])
def test_what_is_no_record_is_none_and_is_written_anew(space: Space, raw: bytes) -> None:
    assert space.record() is None
    space.folder.mkdir(parents=True)
    (space.folder / store.RECORD).write_bytes(raw)
    assert space.record() is None
    space.touch(RECORD)
    assert space.record() == RECORD


def test_where_it_cannot_be_written_a_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    Space(tmp_path / "file", "image-1").touch(RECORD)
