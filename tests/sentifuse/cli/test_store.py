"""`python -m sentifuse store`, through the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentifuse.features.store import lock as store_lock
from sentifuse.features.store.space import RECORD
from tests.places import ROOT
from tests.sentifuse.features.store.test_contents import damage, make

pytestmark = pytest.mark.pipeline


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path / ".sentifuse" / "store"


def store(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sentifuse", "store", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def spaces(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_spaces_are_listed_with_what_they_are_for(root: Path) -> None:
    make(root, "image-1", shards=2)
    done = store()
    assert done.returncode == 0, done.stderr
    first, second, third, last = done.stdout.splitlines()
    assert first.startswith("  image-1: 4 rows in 2 shards, ")
    assert second == "    images, clip"
    assert third.startswith("    embeddings, states that enter the last 3 layers, ")
    assert last.startswith(".sentifuse/store: 1 space, ")
    assert store("list").stdout == done.stdout


def test_without_a_store_there_is_nothing(root: Path) -> None:
    assert store().stdout == ".sentifuse/store: nothing is stored yet\n"
    assert store("prune", "--yes").stdout == "nothing to remove\n"
    assert not root.exists()


def test_programs_read_json(root: Path) -> None:
    make(root, "image-1")
    document = json.loads(store("list", "--json").stdout)
    [space] = document["spaces"]
    assert (space["name"], space["rows"], space["shards"]) == ("image-1", 2, 1)
    assert space["record"]["encoder"] == "clip"
    assert space["current"] is False


def test_nothing_is_removed_without_yes(root: Path) -> None:
    make(root, "image-1", days_ago=40)
    make(root, "image-2")
    said = store("prune", "--unused-for", "30").stdout
    assert said.startswith("image-1: 2 rows in 1 shard, ")
    assert said.endswith("add --yes to do it\n")
    assert spaces(root) == ["image-1", "image-2"]
    said = store("prune", "--unused-for", "30", "--yes").stdout
    assert said.splitlines()[-1].startswith("freed ")
    assert spaces(root) == ["image-2"]
    assert store("prune", "--unused-for", "30").stdout == "nothing to remove\n"


def test_damaged_and_half_written_files_go_and_sound_rows_stay(root: Path) -> None:
    space = make(root, "image-1", shards=2)
    damaged, sound = space.paths()
    damage(damaged)
    part = space.folder / ".x.1.part"
    part.write_bytes(b"half")
    os.utime(part, (1000, 1000))
    store("prune", "--yes")
    assert not part.exists()
    assert space.paths() == [damaged, sound], "its header is sound: the rest was not read"
    store("prune", "--verify", "--yes")
    assert space.paths() == [sound]


def test_a_run_that_uses_the_store_is_not_disturbed(root: Path) -> None:
    make(root, "image-1")
    with store_lock.shared(root):
        done = store("prune", "--space", "image-1", "--yes")
    assert done.returncode == 1
    assert done.stderr == (
        "error: .sentifuse/store: a run is using the store: prune it when that has ended\n"
    )
    assert spaces(root) == ["image-1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "x"], "error: --space x: no such space"),
        (["--unused-for", "-1"], "error: --unused-for -1.0: expected a number of days, 0 or more"),
        (["--unused-for", "nan"], "error: --unused-for nan: expected a number of days, 0 or more"),
        # Else it would remove what it should keep.
        (["--keep-current"], "error: data/features/encoding.json: no such file"),
    ],
)
def test_a_wrong_option_is_one_line_and_removes_nothing(
    root: Path, arguments: list[str], message: str
) -> None:
    make(root, "image-1", days_ago=900)
    done = store("prune", *arguments, "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert spaces(root) == ["image-1"]


def test_the_store_of_the_main_repository_is_meant_under_dvc(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "main" / ".sentifuse" / "store", "image-1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert "image-1: 2 rows" in store().stdout


def test_a_space_of_an_earlier_version_is_listed(root: Path) -> None:
    (make(root, "image-1").folder / RECORD).unlink()
    assert "no record: of an earlier version" in store().stdout
