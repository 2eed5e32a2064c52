"""Tests of `demo_data`, `split` and `preprocess`, stages that make data."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from sentifuse.errors import UserError
from stages import demo_data, preprocess, split
from tests.pipeline.project import LABELS, Project, call
from tests.places import ROOT

COUNTS = {"negative": 20, "neutral": 10, "positive": 30}


@pytest.fixture
def raw(workspace: Project) -> Path:
    """60 labelled and 2 unlabelled samples in `raw/`, to which the params point."""
    workspace.set({"data.root": "raw"})
    tags = [tag for tag, count in COUNTS.items() for _ in range(count)]
    root = workspace.folder / "raw"
    (root / "data").mkdir(parents=True)
    for number in range(62):
        Image.new("RGB", (3, 3), (number, 0, 0)).save(root / "data" / f"s{number}.png")
        (root / "data" / f"s{number}.txt").write_text(f"text {number}", encoding="utf-8")
    rows = [f"s{7 * number % 60},{tag}" for number, tag in enumerate(tags)]
    (root / "train.txt").write_text("\n".join(["guid,tag", *rows]), encoding="utf-8")
    (root / "test_without_label.txt").write_text("guid,tag\ns61,null\ns60,null\n", encoding="utf-8")
    return root


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(f"data/{name}.csv", dtype=str, keep_default_na=False)


# demo_data


def test_demo_data_has_the_sizes_of_the_params(
    workspace: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.set({"demo.labelled": 31, "demo.unlabelled": 3})
    call(demo_data)
    root = workspace.folder / "data" / "demo"
    assert len((root / "train.txt").read_text(encoding="utf-8").splitlines()) == 32
    assert len((root / "test_without_label.txt").read_text(encoding="utf-8").splitlines()) == 4
    assert len(list((root / "data").iterdir())) == 2 * 34
    assert capsys.readouterr().out == "data/demo: 31 labelled and 3 unlabelled pairs\n"


def test_demo_data_replaces_what_was_there(workspace: Project) -> None:
    workspace.set({"demo.labelled": 30, "demo.unlabelled": 0})
    left_over = workspace.folder / "data" / "demo" / "data" / "999999.jpg"
    left_over.parent.mkdir(parents=True)
    left_over.touch()
    call(demo_data)
    assert not left_over.exists()


def test_too_few_demo_samples_are_refused_before_anything_is_deleted(workspace: Project) -> None:
    workspace.set({"demo.labelled": 29})
    old = workspace.folder / "data" / "demo" / "train.txt"
    old.parent.mkdir(parents=True)
    old.touch()
    with pytest.raises(UserError, match=r"demo\.labelled: 29: .*greater than or equal to 30"):
        call(demo_data)
    assert old.exists()


# split


def test_split_lists_every_sample_and_its_part(
    raw: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(split)
    splits, manifest = table("splits"), table("manifest")
    assert Counter(splits["split"]) == {"train": 48, "val": 6, "test": 6, "predict": 2}
    assert list(splits["guid"][-2:]) == ["s61", "s60"]
    assert set(manifest["guid"]) == set(splits["guid"])
    assert set(manifest["image"].str.split("/").str[0]) == {"raw"}
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].split() == [
        "label",
        "negative",
        "neutral",
        "positive",
        "unlabelled",
    ]
    assert "predict" in shown


def test_neither_seed_nor_sizes_nor_label_order_change_the_manifest(
    raw: Path, workspace: Project
) -> None:
    call(split)
    manifest, splits = (Path("data", name).read_bytes() for name in ("manifest.csv", "splits.csv"))
    workspace.set({"split.seed": 1, "split.val_size": 0.2, "labels": list(reversed(LABELS))})
    call(split)
    assert Path("data/manifest.csv").read_bytes() == manifest
    assert Path("data/splits.csv").read_bytes() != splits


def test_twins_stand_in_one_part_unless_the_split_is_to_be_plain(
    raw: Path, workspace: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    call(split)
    assert table("duplicates").empty
    assert "duplicates: 0 groups of 0 labelled samples" in capsys.readouterr().out
    for first in range(0, 20, 2):
        shutil.copy(raw / "data" / f"s{first}.txt", raw / "data" / f"s{first + 1}.txt")
    shutil.copy(raw / "data" / "s60.txt", raw / "data" / "s59.txt")
    call(split)
    grouped, twins = table("splits"), table("duplicates")
    assert len(twins) == 22
    assert list(twins.columns[:4]) == ["guid", "group", "label", "split"]
    labelled = grouped[grouped["split"] != "predict"]
    assert labelled["group"].nunique() == 50
    assert set(labelled.groupby("group")["split"].nunique()) == {1}
    assert set(grouped["group"][grouped["guid"].isin(["s59", "s60"])]) == {"s59"}
    report = json.loads(Path("metrics/data.json").read_text(encoding="utf-8"))
    assert report["duplicates"]["twins_in_train"]["this_split"] == {"val": 0, "test": 0}
    plain_twins = report["duplicates"]["twins_in_train"]["ungrouped_split"]
    assert sum(plain_twins.values()) > 0
    workspace.set({"split.group_duplicates": False})
    call(split)
    plain = table("splits")
    assert list(plain["group"]) == list(plain["guid"])
    assert Counter(plain["split"]) == {"train": 48, "val": 6, "test": 6, "predict": 2}
    report = json.loads(Path("metrics/data.json").read_text(encoding="utf-8"))
    assert report["duplicates"]["twins_in_train"]["this_split"] == plain_twins
    # The groups do not depend on the split.
    assert table("duplicates").drop(columns="split").equals(twins.drop(columns="split"))


def test_split_is_the_same_whatever_the_number_of_cores(
    raw: Path, workspace: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "data/manifest.csv", "data/splits.csv", "data/duplicates.csv", "data/bad_samples.csv",
        "metrics/data.json",
    )  # fmt: skip
    (raw / "data" / "s4.png").unlink()
    workspace.set({"data.on_bad_sample": "skip"})
    shutil.copy(raw / "data" / "s1.png", raw / "data" / "s2.png")
    found = []
    for cores in (1, 5):
        monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda cores=cores: cores)
        call(split)
        found.append([Path(name).read_bytes() for name in names])
    assert found[0] == found[1]


def test_a_changed_file_changes_just_its_row_of_the_manifest(raw: Path) -> None:
    call(split)
    before = table("manifest").set_index("guid")
    (raw / "data" / "s5.txt").write_text("another text", encoding="utf-8")
    call(split)
    after = table("manifest").set_index("guid")
    changed = (before != after).any(axis=1)
    assert list(changed[changed].index) == ["s5"]
    assert before.loc["s5", "image_sha256"] == after.loc["s5", "image_sha256"]


def test_a_mistake_in_the_data_leaves_no_outputs(raw: Path) -> None:
    (raw / "data" / "s5.png").unlink()
    with pytest.raises(UserError, match=r"^raw: 1 bad rows \(no image file: 1\): guid s5: "):
        call(split)
    assert not Path("data").exists()


def test_without_a_mistake_the_list_is_a_header_whatever_the_policy(
    raw: Path, workspace: Project
) -> None:
    found = []
    for policy in ("error", "skip"):
        workspace.set({"data.on_bad_sample": policy})
        call(split)
        found.append({path: path.read_bytes() for path in sorted(Path("data").iterdir())})
    assert found[0] == found[1]
    assert Path("data/bad_samples.csv").read_bytes() == b"guid,file,reason,detail\n"


def test_bad_samples_are_listed_and_skipped_if_asked_for(raw: Path, workspace: Project) -> None:
    workspace.set({"data.on_bad_sample": "skip"})
    (raw / "data" / "s5.png").write_bytes(b"")
    (raw / "data" / "s6.txt").unlink()
    (raw / "data" / "s60.txt").unlink()
    with (raw / "train.txt").open("a", encoding="utf-8") as file:
        file.write("\n../s1,positive\ns7,neutral\n")
    with (raw / "test_without_label.txt").open("a", encoding="utf-8") as file:
        file.write("s62,null\ns61,null\ns62,null\n")
    call(split)
    listed = table("bad_samples")
    assert list(zip(listed["guid"], listed["reason"], strict=True)) == [
        ("../s1", "guid is not a plain file name"),
        ("s61", "guid stands twice"),
        ("s62", "guid stands twice"),
        ("s7", "guid stands twice with different tags"),
        ("s7", "guid stands twice with different tags"),
        ("s5", "image empty"),
        ("s62", "no image file"),
        ("s6", "no text file"),
        ("s60", "no text file"),
        ("s62", "no text file"),
    ]
    splits, manifest = table("splits"), table("manifest")
    labelled = splits[splits["label"] != ""]
    assert len(labelled) == 57
    assert not {"s5", "s6", "s7", "../s1"} & set(splits["guid"])
    assert splits[["guid", "split"]].to_numpy()[-5:].tolist() == [
        ["s61", "predict"], ["s60", "predict"], ["s62", "no_input"], ["s61", "predict"], ["s62", "no_input"],
    ]  # fmt: skip
    assert set(manifest["guid"]) == set(splits["guid"]) - {"s62"}
    lacking = manifest[(manifest == "").any(axis=1)]
    assert lacking.to_dict("records") == [
        {
            "guid": "s60",
            "image": "raw/data/s60.png",
            "text": "",
            "image_sha256": lacking["image_sha256"].iloc[0],
            "text_sha256": "",
        }
    ]
    counts = json.loads(Path("metrics/data.json").read_text(encoding="utf-8"))
    assert counts["bad_samples"] == {
        "labelled_left_out": 5,
        "predicted_without": {"image": 0, "text": 1, "image+text": 2},
        "reasons": {
            "guid is not a plain file name": 1,
            "guid stands twice": 2,
            "guid stands twice with different tags": 2,
            "image empty": 1,
            "no image file": 1,
            "no text file": 3,
        },
        "notes": {},
    }
    assert counts["samples"]["no_input"] == {"unlabelled": 2}


def test_a_label_that_the_data_lack_is_named(raw: Path, workspace: Project) -> None:
    workspace.set({"labels": [*LABELS, "angry"]})
    with pytest.raises(UserError, match=r"^labels: .*'angry'\]: raw/train.txt has no usable row"):
        call(split)


def test_a_mistake_is_one_line_and_exit_status_1(raw: Path, workspace: Project) -> None:
    workspace.set({"split.val_size": -0.1})
    done = subprocess.run(
        [sys.executable, "-m", "stages.split"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: params.yaml: split.val_size: -0.1: input should be greater than or equal to 0\n"
    )


# preprocess


@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_encoder_that_is_not_there_says_how_to_get_it(
    raw: Path, workspace: Project, monkeypatch: pytest.MonkeyPatch, modality: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    workspace.set({f"backbone.{modality}": "./nowhere"})
    call(split)
    with pytest.raises(
        UserError, match=rf"^backbone\.{modality}: './nowhere': no such folder.*`hf download"
    ):
        call(preprocess)
    assert not Path("data/features").exists()
