import json
import random
import shutil
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from sentifuse.deploy import bundle, loading
from sentifuse.deploy.bundle import Provenance
from sentifuse.deploy.sealed import seal
from sentifuse.errors import UserError
from sentifuse.models import checkpoint
from sentifuse.runtime.files import sha256
from tests.bundles import IMAGE, PARAMS, TEXT, make_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def provenance(made: Path) -> Provenance:
    """What `made` was packed with."""
    config = bundle.verify(made)
    return Provenance(**{field.name: config[field.name] for field in fields(Provenance)})


def flip(path: Path, position: int, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1 << bit
    path.write_bytes(raw)


def test_it_holds_what_was_saved(made: Path) -> None:
    loaded = loading.load(made)
    trained = checkpoint.load(made.parent / "trained")
    weights = loaded.model.state_dict()
    for key, value in trained.model.state_dict().items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=0)
    for encoder in (IMAGE, TEXT):
        assert any(key.startswith(f"tails.{encoder}.") for key in weights)
    assert loaded.model.config == trained.model.config
    assert (loaded.predict_views, loaded.temperature) == ("mean", 1.5)
    config = bundle.verify(made)
    assert config["params"] == PARAMS
    assert config["metrics"]["test"]["accuracy"] == 0.5
    assert loaded.encoding.setting.views.scale_min == 0.4
    clip = str(made.parent / "clip")
    assert {each.key: each.name for each in loaded.encoding.encoders} == {IMAGE: clip, TEXT: clip}
    assert not loaded.model.training


def test_there_are_three_files_and_nothing_that_can_run_code(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        "README.md", "config.json", "model.safetensors"
    }  # fmt: skip


def test_the_same_model_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again = make_bundle(tmp_path)
    # The one difference: the backbone lay somewhere else.
    shutil.rmtree(again)
    shutil.copytree(made.parent / "trained", tmp_path / "again")
    bundle.save(again, tmp_path / "again", provenance(made), "tiny", "mit")
    for path in made.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_what_stood_in_the_folder_before_is_gone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old.bin").write_bytes(b"old")
    assert not (make_bundle(tmp_path) / "old.bin").exists()


def test_a_flipped_bit_of_the_weights_is_found(folder: Path) -> None:
    path = folder / "model.safetensors"
    rng = random.Random(0)
    for position in (0, 9, path.stat().st_size - 1, rng.randrange(path.stat().st_size)):
        flip(path, position, 3)
        with pytest.raises(UserError, match=r"model\.safetensors: SHA-256 .* fetch it again"):
            loading.load(folder)
        flip(path, position, 3)
    loading.load(folder)


def test_a_flipped_bit_anywhere_in_the_config_is_found(folder: Path) -> None:
    path = folder / "config.json"
    rng = random.Random(0)
    for position in range(path.stat().st_size):
        bit = rng.randrange(8)
        flip(path, position, bit)
        with pytest.raises(UserError, match=r"config\.json: .*fetch it again"):
            bundle.verify(folder)
        flip(path, position, bit)
    bundle.verify(folder)


def test_a_config_that_git_gave_other_line_ends_is_read(folder: Path) -> None:
    expected = bundle.verify(folder)
    path = folder / bundle.CONFIG
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert bundle.verify(folder) == expected
    # Only its line ends may change.
    path.write_bytes(path.read_bytes().replace(b"0.9", b"0.8", 1))
    with pytest.raises(UserError, match="changed since it was written"):
        loading.load(folder)


@pytest.mark.parametrize("count", [1, -1])
def test_weights_that_git_gave_other_line_ends_say_so(folder: Path, count: int) -> None:
    path = folder / bundle.WEIGHTS
    weights = path.read_bytes().replace(b"\r\n", b"\r\r") + b"\n"
    config = json.loads((folder / bundle.CONFIG).read_text(encoding="utf-8"))
    del config["sha256"]
    sealed = seal(config | {"weights_sha256": sha256(weights)})
    (folder / bundle.CONFIG).write_text(sealed, encoding="utf-8")
    path.write_bytes(weights.replace(b"\n", b"\r\n", count))
    with pytest.raises(
        UserError, match=r"line ends were changed .*core\.autocrlf.*\.gitattributes"
    ):
        bundle.verify(folder)


def test_an_edited_card_is_nobodys_business(folder: Path) -> None:
    (folder / "README.md").write_text("mine", encoding="utf-8")
    loading.load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: no such file: a bundle is a folder with"):
        loading.load(folder)


def test_another_format_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "FORMAT", 3)
    with pytest.raises(UserError, match="format 2, but this version reads format 3"):
        loading.load(folder)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b"\xff", b'{"sha256": ""}'])
def test_another_file_is_no_config(folder: Path, raw: bytes) -> None:
    (folder / "config.json").write_bytes(raw)
    with pytest.raises(UserError, match="not a bundle's config"):
        loading.load(folder)


def test_weights_of_another_bundle_are_found(folder: Path, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", hidden_dims=[4])
    shutil.copy(other / "model.safetensors", folder)
    with pytest.raises(UserError, match="or from another bundle"):
        loading.load(folder)


def test_a_damaged_checkpoint_is_not_packed(made: Path, tmp_path: Path) -> None:
    trained = Path(shutil.copytree(made.parent / "trained", tmp_path / "trained"))
    weights = trained / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a checkpoint"):
        bundle.save(tmp_path / "out", trained, provenance(made), "tiny", "mit")
    weights.unlink()
    with pytest.raises(UserError, match="no such checkpoint file: run `dvc repro`"):
        bundle.save(tmp_path / "out", trained, provenance(made), "tiny", "mit")
    assert not (tmp_path / "out").exists()
