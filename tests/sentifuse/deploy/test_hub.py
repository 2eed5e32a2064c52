"""Against a stand-in of the hub's API on loopback, through `huggingface_hub` as it is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from sentifuse.deploy import bundle, hub
from sentifuse.errors import UserError
from tests import hub_server
from tests.bundles import make_bundle
from tests.hub_server import TOKEN, Hub
from tests.places import ROOT

pytestmark = pytest.mark.servers

FILES = {"model.safetensors", "config.json", "README.md"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """The hub, and a user who has its token."""
    with hub_server.running() as found:
        # `huggingface_hub` reads these of the environment once, when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        place = f"{found.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def refused(message: str, *arguments: object, by: object = hub.push) -> None:
    """Whether `by` refuses with just one line that matches."""
    assert callable(by)
    with pytest.raises(UserError, match=message) as caught:
        by(*arguments)
    assert "\n" not in str(caught.value)


def test_what_is_pulled_is_what_was_pushed(server: Hub, made: Path, tmp_path: Path) -> None:
    told = hub.push(made, "me/mood", None, False)
    repository = server.repositories["me/mood"]
    commit = repository.branches["main"]
    assert told == f"{server.url}/me/mood/commit/{commit}"
    assert repository.private
    # One commit has all of it: nobody can pull the weights of one bundle with the config of another.
    assert len(repository.commits) == 2
    # The weights have gone as a large file.
    assert list(server.large.values()) == [(made / bundle.WEIGHTS).read_bytes()]
    assert hub.pull("me/mood", tmp_path / "new" / "mood", None) == commit
    assert files(tmp_path / "new" / "mood") == files(made)
    assert set(files(made)) == FILES
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mood"]


def test_a_new_repository_is_public_if_asked_for_and_an_old_one_stays_as_it_is(
    server: Hub, made: Path
) -> None:
    hub.push(made, "me/open", None, True)
    assert not server.repositories["me/open"].private
    hub.push(made, "me/open", None, False)
    assert not server.repositories["me/open"].private


def test_the_same_bundle_again_makes_no_commit(server: Hub, made: Path) -> None:
    first = hub.push(made, "me/mood", None, False)
    assert hub.push(made, "me/mood", None, False) == first


def test_only_the_files_of_a_bundle_are_uploaded(server: Hub, made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bundle"))
    (folder / ".env").write_text("SECRET=1")
    hub.push(folder, "me/mood", None, False)
    assert set(server.repositories["me/mood"].commits.popitem()[1]) == {*FILES, ".gitattributes"}


def test_a_branch_is_made_and_each_revision_can_be_pulled(
    server: Hub, made: Path, tmp_path: Path
) -> None:
    first = hub.push(made, "me/mood", None, False).rpartition("/")[2]
    other = make_bundle(tmp_path / "other", hidden_dims=[4])
    second = hub.push(other, "me/mood", "try/wider", False).rpartition("/")[2]
    assert server.repositories["me/mood"].branches == {"main": first, "try/wider": second}
    for revision, commit, expected in (
        (None, first, made), ("try/wider", second, other), (first, first, made), (second, second, other),
    ):  # fmt: skip
        out = tmp_path / f"out-{commit[:6]}-{revision is None}-{revision == commit}"
        assert hub.pull("me/mood", out, revision) == commit
        assert files(out) == files(expected)


@pytest.mark.parametrize("name", ["mood", "me/mood/more", "me/", "a b/c", "me/mo..od", "", "-/-"])
def test_what_is_no_repository_is_refused_before_anything_is_asked(
    name: str, server: Hub, made: Path, tmp_path: Path
) -> None:
    message = f"^{re.escape(repr(name))}: not a repository of the hub: expected OWNER/NAME"
    refused(message, made, name, None, False)
    refused(message, name, tmp_path / "out", None, by=hub.pull)
    assert server.asked == []


def test_a_folder_that_is_no_bundle_is_refused(server: Hub, made: Path, tmp_path: Path) -> None:
    refused("no such file: a bundle is a folder with", tmp_path, "me/mood", None, False)
    folder = Path(shutil.copytree(made, tmp_path / "bundle"))
    with (folder / bundle.WEIGHTS).open("ab") as file:
        file.write(b"more")
    refused("SHA-256 .*damaged", folder, "me/mood", None, False)
    assert server.asked == []


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, "README.md: no such file: a bundle has a model card: run `dvc repro package`"),
        ("a model", "no `license` in its metadata: set package.license in params.yaml and run"),
        ("---\nlibrary_name: sentifuse\n---\n", "no `license` in its metadata"),
        ("---\nlicense: mit\n---\n", "library_name None, expected 'sentifuse'"),
        ("---\nlicense: [mit\n---\n", "its metadata cannot be read"),
        ("---\n- license\n---\n", "its metadata cannot be read"),
    ],
)
def test_a_card_that_the_hub_could_not_file_is_refused(
    card: str | None, message: str, server: Hub, made: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "bundle"))
    (folder / bundle.CARD).unlink()
    if card is not None:
        (folder / bundle.CARD).write_text(card)
    refused(message, folder, "me/mood", None, False)
    assert server.asked == []


def test_without_a_token_nothing_is_pushed_and_no_private_model_is_found(
    server: Hub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.push(made, "me/mood", None, False)
    hub.push(made, "me/open", None, True)
    asked = len(server.asked)
    monkeypatch.delenv("HF_TOKEN")
    refused(
        "no token for the hub: set HF_TOKEN, or run `hf auth login`", made, "me/mood", None, False
    )
    assert len(server.asked) == asked
    message = "me/mood: no such repository, or it is private: set HF_TOKEN, or run"
    refused(message, "me/mood", tmp_path / "out", None, by=hub.pull)
    hub.pull("me/open", tmp_path / "open", None)


def test_what_the_hub_refuses_is_one_line(
    server: Hub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(
        "you/mood: the hub answers 403: .*namespace 'you'.*may do", made, "you/mood", None, False
    )
    monkeypatch.setenv("HF_TOKEN", "hf_of_yesterday")
    refused("me/mood: the hub answers 401: Invalid cred.*may do", made, "me/mood", None, False)
    assert server.repositories == {}


def test_what_is_not_there_is_named_and_no_folder_is_made(
    server: Hub, made: Path, tmp_path: Path
) -> None:
    refused("me/none: no such repository", "me/none", tmp_path / "out", None, by=hub.pull)
    hub.push(made, "me/mood", None, False)
    refused("me/mood: no such revision", "me/mood", tmp_path / "out", "v9", by=hub.pull)
    server.repositories["me/mood"].add("main", {"README.md": b"mine"})
    message = "me/mood: no model.safetensors there: not a bundle of sentifuse"
    refused(message, "me/mood", tmp_path / "out", None, by=hub.pull)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.safetensors", r"^me/mood@\w{8}/model.safetensors: SHA-256 .*fetch it again"),
        ("config.json", r"^me/mood@\w{8}/config.json: not a bundle's config, or changed"),
    ],
)
def test_what_comes_damaged_gets_no_name(
    name: str, message: str, server: Hub, made: Path, tmp_path: Path
) -> None:
    hub.push(made, "me/mood", None, False)
    repository = server.repositories["me/mood"]
    there = repository.commits[repository.branches["main"]]
    repository.add("main", {**there, name: there[name].replace(b"e", b"f")})
    refused(message, "me/mood", tmp_path / "out", None, by=hub.pull)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(server: Hub, made: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("out", "link"):
        refused("is there already: choose another", "me/mood", tmp_path / name, None, by=hub.pull)
    assert server.asked == []


def test_offline_and_without_a_network_it_is_one_line(
    server: Hub, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = r"^http://127.0.0.1:9 cannot be reached \(.*\): check the network"
    refused(message, made, "me/mood", None, False)
    refused(message, "me/mood", tmp_path / "out", None, by=hub.pull)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = "^me/mood: HF_HUB_OFFLINE is set: unset it to reach the hub"
    refused(message, made, "me/mood", None, False)
    refused(message, "me/mood", tmp_path / "out", None, by=hub.pull)
    assert list(tmp_path.iterdir()) == []


def test_the_commands_do_it_with_the_environment_of_the_user(
    server: Hub, made: Path, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
    }

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sentifuse", *arguments],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    pushed = call("push-hub", "me/mood", "--model", str(made))
    assert pushed.returncode == 0, pushed.stderr
    commit = server.repositories["me/mood"].branches["main"]
    assert pushed.stdout == f"{server.url}/me/mood/commit/{commit}\n"
    pulled = call("pull-hub", "me/mood", "mine")
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout == f"mine: me/mood at {commit}, every checksum as it should be\n"
    assert files(tmp_path / "mine") == files(made)
    offline = call("pull-hub", "me/mood", "again", HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (1, "")
    assert offline.stderr == ("error: me/mood: HF_HUB_OFFLINE is set: unset it to reach the hub\n")
