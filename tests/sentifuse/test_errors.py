import errno
import os
import pickle

import pytest

from sentifuse import errors
from sentifuse.errors import UserError, run


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


def test_a_user_error_survives_the_way_out_of_a_worker_process() -> None:
    back = pickle.loads(pickle.dumps(UserError("features: no such folder")))
    assert type(back) is UserError
    assert str(back) == "features: no such folder"


def test_of_many_mistakes_ten_are_listed_and_the_rest_counted() -> None:
    assert errors.listed([]) == ""
    assert errors.listed(list(range(10))) == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9"
    assert errors.listed(list(range(12))).endswith("8; 9; and 2 more")


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


def test_a_file_that_is_missing_unexpectedly_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError):
        run(lambda: open("/nowhere/at/all").close())
