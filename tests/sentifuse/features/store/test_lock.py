"""Runs share the store; whoever deletes rows has it alone, across processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentifuse.errors import UserError
from sentifuse.features.store import lock
from tests.places import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")

_HOLD = """
import sys
from pathlib import Path
from sentifuse.features.store import lock
with getattr(lock, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(kind: str, root: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process that holds the lock until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, kind, str(root)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_runs_share_the_store(tmp_path: Path) -> None:
    with held("shared", tmp_path), lock.shared(tmp_path):
        pass


def test_nobody_has_the_store_alone_while_a_run_uses_it(tmp_path: Path) -> None:
    with (
        held("shared", tmp_path),
        pytest.raises(UserError, match="a run is using the store"),
        lock.alone(tmp_path),
    ):
        pass


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    with held("shared", tmp_path) as process:
        process.kill()
        process.wait()
        with lock.alone(tmp_path):
            pass


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="inside"), lock.alone(tmp_path):
        raise RuntimeError("inside")
    with pytest.raises(RuntimeError, match="inside"), lock.shared(tmp_path):
        raise RuntimeError("inside")
    with lock.alone(tmp_path):
        pass


def test_a_run_makes_the_store(tmp_path: Path) -> None:
    with lock.shared(tmp_path / "new" / "store"):
        assert (tmp_path / "new" / "store" / lock.FILE).exists()


def test_where_nothing_can_be_locked_a_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with lock.shared(tmp_path / "file" / "store"):
        pass
