"""`pip install .` gives the library, its files and the command, anywhere."""

import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from sentifuse.runtime import pins
from tests.pipeline.project import environment
from tools.closure import ROOT

EXTRAS = {
    "serve", "ray", "ocr", "parquet", "s3", "ssh", "search", "onnx", "export", "dev"
}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed into, without what it needs."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    source.mkdir()
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        *(p.name for p in ROOT.glob("requirements*.txt")),
    ):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "sentifuse", source / "sentifuse")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(folder / "there")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return folder / "there"


def run(installed: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=installed.parent,
        env={**environment(installed.parent), "PYTHONPATH": str(installed)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_of_the_library_is_there(installed: Path) -> None:
    def files(root: Path) -> set[str]:
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return {name for name in found if "__pycache__" not in name}

    assert files(installed / "sentifuse") == files(ROOT / "sentifuse")
    told = run(installed, sys.executable, "-c", "import sentifuse; print(sentifuse.__file__)")
    assert Path(told.strip()).parent == installed / "sentifuse"


def test_the_command_is_the_module(installed: Path) -> None:
    listed = run(installed, str(installed / "bin" / "sentifuse"), "--help")
    assert listed == run(installed, sys.executable, "-m", "sentifuse", "--help")
    assert "predict" in listed


def test_requirements_and_extras_are_those_of_the_files(installed: Path) -> None:
    [dist] = metadata.distributions(name="sentifuse", path=[str(installed)])
    assert set(dist.metadata.get_all("Provides-Extra") or []) == EXTRAS
    assert dist.metadata["License-Expression"] == "Apache-2.0"
    assert dist.metadata["Requires-Python"] == "<3.14,>=3.11"
    for name in ["", *EXTRAS]:
        text = (ROOT / f"requirements{'-' if name else ''}{name}.txt").read_text(encoding="utf-8")
        wanted = set(re.findall(r"^[\w.-]+(?:\[\w+\])?==\S+", text, re.MULTILINE))
        assert wanted
        extra = re.compile(rf'; extra == "{name}"$') if name else re.compile(r"^[^;]*$")
        found = {
            each.partition(";")[0].strip() for each in dist.requires or [] if extra.search(each)
        }
        assert found == wanted
    assert pins.FILE.name not in {path.name for path in installed.rglob("*")}
