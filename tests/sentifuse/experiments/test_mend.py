import hashlib
import os
from pathlib import Path

import pytest

from sentifuse.experiments.mend import mend

LOCK = "schema: '2.0'\nstages:\n  split:\n    cmd: x\n    outs:\n    - path: data/a.csv\n    - path: models\n"


def put(root: Path, raw: bytes, suffix: str = "") -> Path:
    """An object of the cache, read-only as DVC leaves it."""
    name = hashlib.md5(raw).hexdigest()
    path = root / "cache" / "files" / "md5" / name[:2] / f"{name[2:]}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    path.chmod(0o444)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text("{}")
    (tmp_path / "dvc.lock").write_text(LOCK)
    put(tmp_path, b"one")
    put(tmp_path, b"[]", ".dir")
    for name in ("data/a.csv", "models/deep/b", "data/other.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    return tmp_path


def test_what_is_sound_stays(root: Path) -> None:
    before = {path: path.stat().st_mtime for path in root.rglob("*")}
    assert mend(root, root / "cache", root / ".dvc") == []
    assert {path: path.stat().st_mtime for path in root.rglob("*")} == before


def test_a_new_repository_has_nothing_to_mend(tmp_path: Path) -> None:
    assert mend(tmp_path, tmp_path / "cache", tmp_path / ".dvc") == []


@pytest.mark.parametrize("name", ["dvc.lock", ".dvc/tmp/rwlock"])
@pytest.mark.parametrize("half", ["", '{"write": {"a"', "schema: '2.0'\nstages:\n  split:\n    cm"])
def test_half_a_lock_is_removed(name: str, half: str, root: Path) -> None:
    (root / name).write_text(half)
    assert mend(root, root / "cache", root / ".dvc") == [root / name]
    assert not (root / name).exists()


@pytest.mark.parametrize("suffix", ["", ".dir"])
def test_a_damaged_object_is_removed_and_outputs_are_hashed_anew(suffix: str, root: Path) -> None:
    sound = set((root / "cache").rglob("*"))
    damaged = put(root, b"two", suffix)
    damaged.chmod(0o644)
    damaged.write_bytes(b"twO")
    assert mend(root, root / "cache", root / ".dvc") == [damaged]
    assert {path for path in (root / "cache").rglob("*") if path.is_file()} == {
        path for path in sound if path.is_file()
    }
    changed = {path.name for path in root.rglob("*") if path.is_file() and path.stat().st_mtime > 2}
    assert {"a.csv", "b"} <= changed
    assert "other.csv" not in changed
