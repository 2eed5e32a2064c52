import errno
import os
import subprocess
import sys

import pytest

from sentifuse.errors import UserError
from sentifuse.runtime.process import run


def test_a_user_error_becomes_one_line_and_exit_status_1() -> None:
    def main() -> None:
        raise UserError("params.yaml: seed: the key is missing")

    with pytest.raises(SystemExit) as stopped:
        run(main)
    # `sys.exit` with a string prints it to stderr and exits with status 1.
    assert stopped.value.code == "error: params.yaml: seed: the key is missing"


def test_the_traceback_of_a_user_error_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise UserError("no")

    with pytest.raises(SystemExit):
        run(main)
    assert capsys.readouterr() == ("", "")


def test_any_other_error_keeps_its_traceback() -> None:
    def main() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(main)


def test_main_is_called_once() -> None:
    calls = []
    run(lambda: calls.append("called"))
    assert calls == ["called"]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "x.json: No space left on device: free some space and run `dvc repro` again"),
        (errno.EISDIR, "x.json: Is a directory: move the folder away and run `dvc repro` again"),
        (errno.ENOTDIR, "x.json: Not a directory: move the file away and run `dvc repro` again"),
        (errno.EACCES, "x.json: Permission denied: give yourself the right to it and run `dvc repro` again"),
        (errno.EROFS, "x.json: Read-only file system: make it writable and run `dvc repro` again"),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_becomes_one_line(number: int, told: str) -> None:
    def main() -> None:
        raise OSError(number, os.strerror(number), "x.json")

    with pytest.raises(SystemExit) as stopped:
        run(main)
    assert stopped.value.code == f"error: {told}"


_IMPORTS = "from sentifuse.errors import UserError\nfrom sentifuse.runtime.process import run\n"


def python(code: str, **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            _IMPORTS + code,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("run(lambda: print('x'))", b""),
        ("run(lambda: [print(number) for number in range(100_000)])", b""),
        ("def main():\n    print('x')\n    sys.exit(1)\nimport sys\nrun(main)", b""),
        (
            "def main():\n    print('x')\n    raise UserError('no')\nrun(main)",
            b"error: no" + os.linesep.encode(),
        ),
    ],
    ids=["short", "long", "exit", "error"],
)
def test_a_reader_that_leaves_is_nothing_to_tell(code: str, told: bytes, unbuffered: str) -> None:
    process = python(f"import time; time.sleep(0.3)\n{code}", PYTHONUNBUFFERED=unbuffered)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    found = process.stderr.read()
    process.wait()
    # With unbuffered output the first line already meets the closed pipe.
    assert found == (b"" if unbuffered else told)


def test_another_broken_pipe_keeps_its_traceback() -> None:
    process = python("def main():\n    raise BrokenPipeError(32, 'a worker')\nrun(main)")
    _, told = process.communicate()
    assert b"BrokenPipeError" in told
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "开心 é █".encode()),
        ("latin-1", b"\\u5f00\\u5fc3 \xe9 \\u2588"),
        ("ascii", b"\\u5f00\\u5fc3 \\xe9 \\u2588"),
        ("gbk", b"\xbf\xaa\xd0\xc4 \xa8\xa6 \xa8\x80"),
    ],
)
def test_letters_that_the_terminal_lacks_are_escaped(encoding: str, shown: bytes) -> None:
    process = python("run(lambda: print('\u5f00\u5fc3 \u00e9 \u2588'))", PYTHONIOENCODING=encoding)
    out, told = process.communicate()
    assert (out.strip(), told, process.returncode) == (shown, b"", 0)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_output_that_finds_no_room_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from sentifuse.runtime.process import run\nrun(lambda: print('x'))",
            ],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr.startswith(b"error: a file: No space left on device: free some space")
    assert done.stderr.count(b"\n") == 1


def test_a_file_that_is_missing_unexpectedly_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        run(lambda: open("/nowhere/at/all").close())


# Counts the collections of a stage, and tells what the collector would not look at when the process ends.
_GARBAGE = """
import atexit, gc
seen = []
atexit.register(lambda: print(len(seen), gc.get_freeze_count() > {objects}))
def main():
    gc.collect()
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    global many
    many = [[] for _ in range({objects})]
run(main)
"""


@pytest.mark.parametrize(("objects", "collections"), [(20_000, 0), (200_000, 2)])
def test_garbage_is_collected_when_it_piles_up_and_not_at_the_end(
    objects: int, collections: int
) -> None:
    out, _ = python(_GARBAGE.format(objects=objects)).communicate()
    seen, frozen = out.split()
    assert (int(seen) >= collections, int(seen) > 0) == (True, collections > 0)
    assert frozen == b"True"
