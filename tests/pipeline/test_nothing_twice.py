"""What was encoded once is not encoded again; what would come out otherwise is never taken for it."""

import importlib
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from sentifuse.data import manifest
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.features.encoding import EncoderRecord, Item, Setting
from sentifuse.features.engines import local
from sentifuse.features.store.space import Space
from tests.pipeline.project import Project, call, environment, stages_run
from tests.pipeline.test_determinism import features, samples_of
from tests.serial_pool import SerialPool
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder


@pytest.fixture
def project(finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy without DVC and with a store of its own, in which stages run in this process."""
    copied = finished.copy(tmp_path / "p", without=(".git", ".dvc"))
    monkeypatch.chdir(copied.folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    return copied


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of all that is encoded, in order, each behind the key of the encoder."""
    keys: list[str] = []
    encode_shard = local.encode_shard

    def counted(
        encoder: AnyEncoder, record: EncoderRecord, setting: Setting, items: list[Item]
    ) -> Any:
        keys.extend(f"{record.key} {item.key}" for item in items)
        return encode_shard(encoder, record, setting, items)

    monkeypatch.setattr(local, "encode_shard", counted)
    return keys


def encoders(encoded: list[str]) -> set[str]:
    """The keys of the encoders that had something to encode."""
    return {key.split()[0] for key in encoded}


def preprocess() -> None:
    call(importlib.import_module("stages.preprocess"))


def stored(project: Project) -> dict[str, list[str]]:
    """Space -> the keys of its rows."""
    root = project.folder / ".sentifuse" / "store"
    return {
        folder.name: [key for shard in Space(root, folder.name).shards() for key in shard.keys]
        for folder in sorted(root.iterdir())
        if folder.is_dir()
    }


def add_samples(project: Project, count: int) -> None:
    """New labelled pairs, each with a picture and a text that no other has."""
    rng = np.random.default_rng(7)
    root = project.folder / "raw"
    lines = []
    for number in range(count):
        guid = f"new{number}"
        pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "data" / f"{guid}.png")
        (root / "data" / f"{guid}.txt").write_text(f"a good day {guid}", encoding="utf-8")
        lines.append(f"{guid},{('negative', 'neutral', 'positive')[number % 3]}\n")
    with (root / "train.txt").open("a", encoding="utf-8") as file:
        file.writelines(lines)


def test_ten_samples_more_encode_ten(copied: Project) -> None:
    before = stored(copied)
    add_samples(copied, 10)
    assert stages_run(copied.dvc("repro", "preprocess")) == ["split", "preprocess"]
    after = stored(copied)
    assert after.keys() == before.keys()
    for name, keys in after.items():
        assert len(keys) == len(set(keys)) == len(before[name]) + 10
        assert set(before[name]) < set(keys)
    assert b"new9\n" in copied.contents()["data/features/guids.txt"]


def test_another_label_encodes_nothing(copied: Project) -> None:
    path = copied.folder / "raw" / "train.txt"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    guid = lines[1].partition(",")[0]
    tag = "positive" if "neutral" in lines[1] else "neutral"
    path.write_text("".join([lines[0], f"{guid},{tag}\n", *lines[2:]]), encoding="utf-8")
    before = copied.contents()
    output = copied.dvc("repro", "preprocess")
    assert stages_run(output) == ["split"]
    assert "Stage 'preprocess' didn't change, skipping" in output
    assert copied.contents()["data/splits.csv"] != before["data/splits.csv"]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7, "stage1.lr_head": 5.0e-4, "stage2.lr_clip": 3.0e-5, "head.dropout": 0.1},
        {"fusion": "film", "loss.class_weights": "balanced", "infer.min_confidence": 0.5},
    ],
    ids=["seed and training", "fusion, loss and infer"],
)
def test_params_of_training_do_not_even_start_preprocess(
    changes: dict[str, Any], copied: Project
) -> None:
    copied.set(changes)
    planned = stages_run(copied.dvc("repro", "--dry"))
    assert "train_stage1" in planned
    assert not {"split", "preprocess"} & set(planned)


def test_a_second_run_of_the_stage_encodes_nothing(project: Project, encoded: list[str]) -> None:
    before = features(project)
    preprocess()
    assert encoded == []
    assert features(project) == before


def test_a_run_that_was_killed_goes_on_where_it_was(
    project: Project, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = features(project)
    shutil.rmtree(project.folder / ".sentifuse")
    monkeypatch.setattr(local, "SHARD_SIZE", {"image": 5, "text": 6})
    counted = local.encode_shard

    def killed(*arguments: Any) -> Any:
        if len(encoded) >= 20:
            raise KeyboardInterrupt
        return counted(*arguments)

    monkeypatch.setattr(local, "encode_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        preprocess()
    done = encoded.copy()
    assert len(done) == 20
    monkeypatch.setattr(local, "encode_shard", counted)
    preprocess()
    assert len(encoded) == len(set(encoded)), "something was encoded twice"
    # 33 pictures and 34 texts are different ones: two samples share a picture.
    assert len(encoded) == sum(map(len, stored(project).values()))
    assert features(project) == expected


def test_rows_that_vanish_under_a_run_are_encoded_again(
    project: Project, encoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `store prune` would do it to a run on a file system that knows no locks."""
    expected = features(project)
    encode = local.encode
    pruned = []

    def and_prune(*arguments: Any) -> None:
        encode(*arguments)
        encoder, space = arguments[0].key, arguments[3]
        if encoder not in pruned:
            pruned.append(encoder)
            shutil.rmtree(space.folder)

    monkeypatch.setattr(local, "encode", and_prune)
    preprocess()
    assert pruned == ["image_clip", "text_clip"]
    assert encoders(encoded) == {"image_clip", "text_clip"}
    assert features(project) == expected


def test_two_runs_at_a_time_share_the_store(finished: Project, tmp_path: Path) -> None:
    """Real processes with real workers, on the same samples, from an empty store."""
    projects = [
        finished.copy(tmp_path / name, without=(".git", ".dvc", ".sentifuse")) for name in "ab"
    ]
    shared = tmp_path / "shared"
    env = environment(tmp_path) | {"DVC_ROOT": str(shared)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "stages.preprocess"],
            cwd=project.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for project in projects
    ]
    for run in runs:
        printed, _ = run.communicate(timeout=300)
        assert run.returncode == 0, printed
    for project in projects:
        assert features(project) == features(finished)
    assert [path.name for path in shared.rglob("*.part")] == []
    third = projects[0]
    shutil.rmtree(third.folder / "data" / "features")
    before = sorted(shared.rglob("*.safetensors"))
    third.run("env", f"DVC_ROOT={shared}", sys.executable, "-m", "stages.preprocess")
    assert sorted(shared.rglob("*.safetensors")) == before
    assert features(third) == features(finished)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"backbone.hidden_dtype": "float32"}, {"image_clip", "text_clip"}),
        ({"backbone.image_batch": 5}, {"image_clip"}),
        ({"unfreeze_text_layers": 2}, {"text_clip"}),
    ],
    ids=lambda value: "-".join(sorted(value)),
)
def test_another_setting_takes_no_row_of_the_old_one(
    changes: dict[str, Any], again: set[str], project: Project, encoded: list[str]
) -> None:
    before = stored(project)
    project.set(changes)
    preprocess()
    assert encoders(encoded) == again
    modalities = {key.partition("_")[0] for key in again}
    assert len(encoded) == sum(len(before[n]) for n in before if n.partition("-")[0] in modalities)
    after = stored(project)
    assert {name: after[name] for name in before} == before
    # As from an empty store.
    found = features(project)
    shutil.rmtree(project.folder / ".sentifuse")
    preprocess()
    assert features(project) == found


def test_other_weights_under_the_same_name_take_no_row_of_the_old_ones(
    project: Project, encoded: list[str]
) -> None:
    """What another revision of a hub repository is, too."""
    params = yaml.safe_load((project.folder / "params.yaml").read_text(encoding="utf-8"))
    mine = project.folder / "clip"
    shutil.copytree(params["backbone"]["text"], mine)
    project.set({"backbone.image": "clip", "backbone.text": "clip"})
    preprocess()
    assert encoded == [], "the same weights elsewhere are the same"
    old = features(project)
    shutil.rmtree(mine)
    make_clip_folder(mine, seed=1)
    preprocess()
    assert len(encoded) == sum(map(len, stored(project).values())) / 2
    for encoder in ("image_clip", "text_clip"):
        name = f"data/features/{encoder}/embeddings.npy"
        assert (project.folder / name).read_bytes() != old[name]


def test_a_second_encoder_encodes_only_its_own(copied: Project, tmp_path: Path) -> None:
    """Added to a run through DVC, as a list; the first one's features stay as they are."""
    params = yaml.safe_load((copied.folder / "params.yaml").read_text(encoding="utf-8"))
    bert = make_encoder_folder("bert", tmp_path / "bert")
    before, old = stored(copied), features(copied)
    both = f"backbone.text=[{params['backbone']['text']},{bert}]"
    output = copied.dvc("exp", "run", "--set-param", both, "preprocess")
    assert stages_run(output) == ["preprocess"]
    after = stored(copied)
    [added] = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    [texts] = [keys for name, keys in before.items() if name.startswith("text-")]
    assert set(after[added]) == set(texts)
    assert len(after[added]) == len(texts)
    found = features(copied)
    for name in ("meta.json", "encoding.json"):
        del old[f"data/features/{name}"]
    assert {name: found[name] for name in old} == old
    new = {name.split("/")[2] for name in found.keys() - old.keys()}
    assert new == {"meta.json", "encoding.json", "text_bert"}


def test_the_encoders_may_stand_in_another_order_and_encode_nothing(
    project: Project, encoded: list[str], tmp_path: Path
) -> None:
    bert = str(make_encoder_folder("bert", tmp_path / "bert"))
    params = yaml.safe_load((project.folder / "params.yaml").read_text(encoding="utf-8"))
    clip = params["backbone"]["text"]
    project.set({"backbone.text": [clip, bert], "backbone.tokens": False})
    preprocess()
    encoded.clear()
    project.set({"backbone.text": [bert, clip]})
    preprocess()
    assert encoded == []
    project.set({"backbone.text": bert})
    preprocess()
    assert encoded == []
    assert "text_clip" not in {name.split("/")[2] for name in features(project)}


def test_samples_in_another_order_encode_nothing(project: Project, encoded: list[str]) -> None:
    samples = samples_of(project)
    order = random.Random(1).sample(range(len(samples)), len(samples))
    manifest.write(samples.iloc[order], Path("data/manifest.csv"))
    preprocess()
    assert encoded == []


def test_a_store_of_an_earlier_version_is_used(project: Project, encoded: list[str]) -> None:
    """One without a record or a lock beside its shards."""
    store = project.folder / ".sentifuse" / "store"
    for path in (*store.rglob("space.json"), store / ".lock"):
        path.unlink()
    preprocess()
    assert encoded == []
    assert len(list(store.rglob("space.json"))) == 2


def test_the_store_knows_what_the_features_here_come_from(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.copy(tmp_path / "p", without=(".git", ".dvc"))
    before = stored(project)
    assert "nothing to remove" in project.sentifuse("store", "prune", "--keep-current")
    project.set({"unfreeze_text_layers": 2})
    project.run(sys.executable, "-m", "stages.preprocess")
    [old] = [name for name in before if name.startswith("text-")]
    listed = project.sentifuse("store").splitlines()
    starred = {line.split()[1].rstrip(":") for line in listed if line.startswith("* ")}
    assert starred == set(stored(project)) - {old}
    expected = features(project)
    project.sentifuse("store", "prune", "--keep-current", "--yes")
    assert set(stored(project)) == starred
    shutil.rmtree(project.folder / "data" / "features")
    project.run(sys.executable, "-m", "stages.preprocess")
    assert set(stored(project)) == starred
    assert features(project) == expected
