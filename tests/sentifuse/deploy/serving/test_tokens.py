from pathlib import Path

import pytest

from sentifuse.deploy.serving import tokens
from sentifuse.errors import UserError


@pytest.fixture(autouse=True)
def none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tokens.VARIABLE, raising=False)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_one_there_is_none() -> None:
    assert tokens.read(None) is None


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_it_comes_from_a_file_without_its_line_end(tmp_path: Path, mode: int) -> None:
    assert tokens.read(written(tmp_path, "abc-123==\n", mode)) == "abc-123=="


def test_it_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tokens.VARIABLE, "abc")
    assert tokens.read(None) == "abc"


def test_two_of_them_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(tokens.VARIABLE, "abc")
    with pytest.raises(UserError, match="SENTIFUSE_TOKEN is set, too"):
        tokens.read(written(tmp_path, "abc"))


@pytest.mark.parametrize(
    ("text", "what"), [("", "empty"), (" \n", "empty"), ("två", "not a"), ("a b", "not a")]
)
def test_what_is_no_token_is_refused_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    with pytest.raises(UserError, match=f"--token-file .*token: {what}") as error:
        tokens.read(written(tmp_path, text))
    assert "två" not in str(error.value)
    monkeypatch.setenv(tokens.VARIABLE, text)
    with pytest.raises(UserError, match=f"SENTIFUSE_TOKEN: {what}"):
        tokens.read(None)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UserError, match=f"mode {mode:o}: others may read or change it: run `chmod"):
        tokens.read(written(tmp_path, "abc", mode))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no-such: No such file"):
        tokens.read(tmp_path / "no-such")
