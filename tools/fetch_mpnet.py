"""Fetches the model all-mpnet-base-v2 from PyPI, where five packages hold the parts of its folder.

    python -m tools.fetch_mpnet             # to data/encoders/all-mpnet-base-v2
    python -m tools.fetch_mpnet FOLDER

Loads some 400 MB, and takes up to 900 MB of disk beside the folder while it works. The folder appears whole
and checked, or not at all. Where it is already, it is checked only.
"""

import argparse
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sentifuse.errors import UserError, listed
from sentifuse.runtime import process

NAME = "all-mpnet-base-v2"
FOLDER = Path("data/encoders") / NAME
_COMMAND = "python -m tools.fetch_mpnet"

# SHA-256 of the wheel of each part, in their order. pip refuses any other file.
WHEELS = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)


class File(NamedTuple):
    """What a file of the model has to be."""

    size: int
    sha256: str


# Not all that the packages hold: they have files of a Windows desktop, too.
FILES = {
    "model.safetensors": File(
        437_971_872, "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    ),
    "config.json": File(571, "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
    "tokenizer.json": File(
        466_021, "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"
    ),
    "tokenizer_config.json": File(
        363, "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"
    ),
    "special_tokens_map.json": File(
        239, "9ef40e9c160511bf3f46ceb71f1471dafa1e9473d5120bb816c36b2efa75f8ba"
    ),
    "vocab.txt": File(231_536, "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada"),
    "modules.json": File(349, "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
    "sentence_bert_config.json": File(
        53, "cabfacded9272091a06ff595a46ef027a76ddf4ac9e77d0fcf11c605748f1667"
    ),
    "config_sentence_transformers.json": File(
        116, "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "1_Pooling/config.json": File(
        190, "a37f83ada23e7887be6b88f4998927dbeac0038af301553c7cd5461413bf1a56"
    ),
    "README.md": File(10_621, "a3e99d3235e3c1b4225f4b98892be383f2ed87a50b3a5420ae156e77716182de"),
}


def main(arguments: Sequence[str]) -> None:
    """Fetches the model to the folder that the command line names.

    Raises:
        UserError: it is there but not right, or it cannot be fetched.
    """
    parser = argparse.ArgumentParser(
        prog=_COMMAND, description=str(__doc__).partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=FOLDER, help=f"default: {FOLDER.as_posix()}"
    )
    folder = parser.parse_args(arguments).folder
    try:
        fetch(folder)
    except OSError as error:  # such as a full disk
        where = error.filename2 or error.filename or folder
        raise UserError(
            f"{where}: {error.strerror}: mend that and run `{_COMMAND}` again"
        ) from None


def download(folder: Path) -> None:
    """Lets pip load the five wheels into `folder`, with the user's own settings of proxy and index.

    Raises:
        UserError: pip fails, or has found other files than those pinned.
    """
    pinned = folder / "requirements.txt"
    lines = [
        f"{NAME}-pypi-part-{number:03}==0.0.1 --hash=sha256:{sha}\n"
        for number, sha in enumerate(WHEELS, start=1)
    ]
    pinned.write_text("".join(lines), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    # A cache would keep all of it a second time.
    pip += ["--no-cache-dir", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    pip += ["--dest", str(folder), "--requirement", str(pinned)]
    # pip loads into a temporary folder first: /tmp may be too small, and is not removed with `folder`.
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        pip, env=environment, capture_output=True, encoding="utf-8", errors="replace"
    )
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        reason = next((line for line in told if line.startswith("ERROR: ")), told[-1])
        raise UserError(
            f"pip download: {reason.removeprefix('ERROR: ')}: see that pip reaches PyPI and has 900 MB of "
            f"disk, and run `{_COMMAND}` again"
        )


def fetch(
    folder: Path,
    download: Callable[[Path], None] = download,
    files: Mapping[str, File] = FILES,
) -> None:
    """Makes `folder` with `files` of the model, unless it is there; says on stdout which of the two.

    Args:
        folder: where the model is to be.
        download: puts the wheels into the folder that it is given.
        files: what the model has to have, by names relative to `folder`.

    Raises:
        UserError: the folder is there but not right, or what was loaded is not the model.
    """
    if folder.exists():
        if found := _faults(folder, files):
            raise UserError(
                f"{folder}: {listed(found)}: move it away and run `{_COMMAND}` again, or name another folder"
            )
        print(f"{folder}: complete, nothing to do")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # On the same disk, so that the folder can be renamed.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        scratch = Path(name)
        print("loading five packages from PyPI, some 400 MB ...", flush=True)
        download(scratch)
        archive, made = scratch / "model.zip", scratch / "model"
        try:
            _join(scratch, archive)
            _extract(archive, made, files)
        except zipfile.BadZipFile as error:
            raise UserError(_refused(f"no sound zip file ({error})")) from None
        if found := _faults(made, files):
            raise UserError(_refused(listed(found)))
        made.rename(folder)
    print(f"{folder}: complete")


def _join(wheels: Path, archive: Path) -> None:
    """Writes the parts one behind the other, and removes each wheel once it is read."""
    with archive.open("wb") as whole:
        for number in range(1, len(WHEELS) + 1):
            name = f"part {number} of {len(WHEELS)}"
            found = list(wheels.glob(f"*_part_{number:03}-*.whl"))
            if len(found) != 1:
                raise UserError(_refused(f"{name} is missing"))
            with zipfile.ZipFile(found[0]) as wheel:
                parts = [each for each in wheel.namelist() if each.endswith(f".zip.{number:03}")]
                if len(parts) != 1:
                    raise UserError(_refused(f"{name} is missing in {found[0].name}"))
                with wheel.open(parts[0]) as part:
                    shutil.copyfileobj(part, whole)
            found[0].unlink()


def _extract(archive: Path, folder: Path, files: Mapping[str, File]) -> None:
    """Writes those members of the zip file that are `files`, once every member is seen to be harmless."""
    folder.mkdir()
    with zipfile.ZipFile(archive) as opened:
        members = {_inner(each): each for each in opened.infolist() if not each.is_dir()}
        for name in files:
            if name in members:  # what is missing is told with all else that is wrong
                path = folder / name
                path.parent.mkdir(exist_ok=True)
                with opened.open(members[name]) as source, path.open("wb") as target:
                    shutil.copyfileobj(source, target)


def _inner(member: zipfile.ZipInfo) -> str:
    """The member's name within the model's folder; a link, or what would lie elsewhere, is refused."""
    path = PurePosixPath(member.filename)
    # Zip files that Windows wrote have no mode.
    regular = stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)
    inside = path.parts[:1] == (NAME,) and ".." not in path.parts
    if not regular or not inside:
        raise UserError(_refused(f"{member.filename!r} is no regular file in {NAME}/"))
    return path.relative_to(NAME).as_posix()


def _faults(folder: Path, files: Mapping[str, File]) -> list[str]:
    """What is wrong with the model in `folder`; empty if nothing is."""
    faults = []
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif (size := path.stat().st_size) != expected.size:
            faults.append(f"{name} has {size:,} bytes instead of {expected.size:,}")
        else:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected.sha256:
                faults.append(f"{name} has the SHA-256 {found} instead of {expected.sha256}")
    return faults


def _refused(why: str) -> str:
    """The message about packages that do not hold the model."""
    return f"the packages from PyPI: {why}: nothing is kept; run `{_COMMAND}` again"


if __name__ == "__main__":
    process.run(lambda: main(sys.argv[1:]))
