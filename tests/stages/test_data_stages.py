"""Tests of `demo_data`, `split` and `preprocess`, stages that make data."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

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


def counts() -> dict[str, Any]:
    return dict(json.loads(Path("metrics/data.json").read_text(encoding="utf-8")))


def publish(document: Any) -> None:
    Path("splits").mkdir(exist_ok=True)
    Path("splits/own.json").write_text(json.dumps(document), encoding="utf-8")


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
    of_grouped = counts()["duplicates"]["twins_in_train"]
    assert [row["with_twin"] for row in of_grouped["this_split"].values()] == [0, 0]
    plain_twins = of_grouped["ungrouped_split"]
    assert sum(row["with_twin"] for row in plain_twins.values()) > 0
    workspace.set({"split.group_duplicates": False})
    call(split)
    plain = table("splits")
    assert list(plain["group"]) == list(plain["guid"])
    assert Counter(plain["split"]) == {"train": 48, "val": 6, "test": 6, "predict": 2}
    assert counts()["duplicates"]["twins_in_train"]["this_split"] == plain_twins
    # The groups do not depend on the split.
    assert table("duplicates").drop(columns="split").equals(twins.drop(columns="split"))


def test_one_split_has_no_folds(raw: Path) -> None:
    call(split)
    assert Path("data/folds.csv").read_bytes() == b"guid,fold,split\n"
    assert counts()["protocol"] == {"published": False, "folds": 1, "ids_passed_over": 0}


@pytest.mark.parametrize("grouped", [True, False])
def test_folds_partition_the_labelled_rows_and_the_first_is_the_split(
    raw: Path, workspace: Project, grouped: bool
) -> None:
    for first in range(0, 20, 2):
        shutil.copy(raw / "data" / f"s{first}.txt", raw / "data" / f"s{first + 1}.txt")
    workspace.set({"split.folds": 4, "split.group_duplicates": grouped})
    call(split)
    splits, folds = table("splits"), table("folds")
    labelled = splits[splits["label"] != ""]
    assert folds[folds["split"] == "test"]["guid"].is_unique
    assert set(folds[folds["split"] == "test"]["guid"]) == set(labelled["guid"])
    assert len(folds) == 4 * 60
    own = folds[folds["fold"] == "0"]
    assert list(own["split"]) == list(labelled["split"])
    assert set(labelled.groupby("label")["split"].nunique()) == {3}
    twins = counts()["duplicates"]["twins_in_train"]
    assert (
        twins["this_split"]["test"]["samples"] == twins["ungrouped_split"]["val"]["samples"] == 60
    )
    assert (twins["this_split"]["test"]["with_twin"] == 0) == grouped
    assert twins["ungrouped_split"]["test"]["text"] > 0
    assert counts()["protocol"]["folds"] == 4


def test_a_published_split_is_used_as_it_is_and_its_leaks_are_told(
    raw: Path, workspace: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    call(split)
    manifest = Path("data/manifest.csv").read_bytes()
    # One picture in train and in test, one text in train and in validation, one of each with an unused row.
    shutil.copy(raw / "data" / "s0.png", raw / "data" / "s40.png")
    shutil.copy(raw / "data" / "s1.txt", raw / "data" / "s30.txt")
    shutil.copy(raw / "data" / "s41.txt", raw / "data" / "s59.txt")
    names = {"train": range(30), "val": range(30, 40), "test": range(40, 55)}
    publish({part: [f"s{number}" for number in own] for part, own in names.items()})
    workspace.set({"split.file": "splits/own.json"})
    call(split)
    splits = table("splits").set_index("guid")["split"]
    for part, own in names.items():
        assert {f"s{number}" for number in own} == set(splits.index[splits == part])
    assert Counter(splits)["unused"] == 5
    assert Path("data/manifest.csv").read_text().count("\n") == manifest.decode().count("\n")
    found = counts()
    assert found["protocol"] == {"published": True, "folds": 1, "ids_passed_over": 0}
    assert sum(found["samples"]["unused"].values()) == 5
    none = {"image_file": 0, "near_identical_image": 0, "text": 0}
    assert found["duplicates"]["twins_in_train"] == {
        "this_split": {
            "val": {"samples": 10, "with_twin": 1, **none, "text": 1},
            # A picture of one colour has no perceptual hash.
            "test": {"samples": 15, "with_twin": 1, **none, "image_file": 1},
        }
    }  # fmt: skip
    assert "2 of validation and test have a twin in train\n" in capsys.readouterr().out


def test_a_column_of_parts_is_a_published_split(raw: Path, workspace: Project) -> None:
    rows = [f"{row},data/{row.partition(',')[0]}.png" for row in _lines(raw / "train.txt")[1:]]
    parts = ["train"] * 30 + ["val"] * 10 + ["test"] * 15 + [""] * 5
    head = "id,label,image,text,split,text_label"
    written = [f"{row},day {n},{parts[n]},neutral" for n, row in enumerate(rows)]
    (raw / "train.txt").unlink()
    (raw / "samples.csv").write_text("\n".join([head, *written]), encoding="utf-8")
    call(split)
    assert Counter(table("splits")["split"]) == {"train": 30, "val": 10, "test": 15, "unused": 5}
    assert counts()["protocol"] == {"published": True, "folds": 1, "ids_passed_over": 0}
    labels = table("modality_labels")
    assert list(labels.columns) == ["guid", "text_label", "image_label"]
    assert (len(labels), set(labels["text_label"]), set(labels["image_label"])) == (
        60,
        {"neutral"},
        {""},
    )
    workspace.set({"split.folds": 5})
    call(split)
    assert counts()["protocol"] == {"published": False, "folds": 5, "ids_passed_over": 0}


def test_a_column_of_parts_without_a_test_part_is_refused_with_what_to_do(raw: Path) -> None:
    (raw / "train.txt").unlink()
    rows = "".join(
        f"s{number},data/s{number}.png,x,{tag},train\n" for number, tag in enumerate(LABELS)
    )
    (raw / "samples.csv").write_text(f"id,image,text,label,split\n{rows}", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"samples\.csv: split \(data\.columns\.split=null ignores it\)"
    ):
        call(split)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_several_published_folds_are_all_written_and_validation_is_drawn_if_there_is_none(
    raw: Path, workspace: Project
) -> None:
    guids = [f"s{number}" for number in range(60)]
    publish([{"train": guids[:50], "test": guids[50:]}, {"train": guids[10:], "test": guids[:10]}])
    workspace.set({"split.file": "splits/own.json"})
    call(split)
    folds = table("folds")
    sizes = folds.groupby(["fold", "split"]).size().to_dict()
    assert sizes == {
        (fold, part): size
        for fold in ("0", "1")
        for part, size in (("train", 45), ("val", 5), ("test", 10))
    }
    assert counts()["protocol"]["folds"] == 2
    assert counts()["duplicates"]["twins_in_train"]["this_split"]["test"]["samples"] == 20


def test_ids_without_a_sample_stop_the_split_unless_bad_samples_are_skipped(
    raw: Path, workspace: Project
) -> None:
    guids = [f"s{number}" for number in range(60)]
    # s60 is to be predicted, and s61 as well.
    publish({"train": [*guids[:50], "s60", "t1"], "test": guids[50:], "val": ["s61"]})
    workspace.set({"split.file": "splits/own.json"})
    with pytest.raises(UserError, match=r"^splits/own.json: 3 ids without .*: s60; s61; t1\. Is "):
        call(split)
    assert not Path("data").exists()
    workspace.set({"data.on_bad_sample": "skip"})
    call(split)
    assert counts()["protocol"]["ids_passed_over"] == 3
    # No row is left of its validation part: it is drawn.
    assert Counter(table("splits")["split"]) == {"train": 45, "val": 5, "test": 10, "predict": 2}


def test_a_split_file_that_is_not_there_is_told_before_any_sample_is_read(
    raw: Path, workspace: Project
) -> None:
    workspace.set({"split.file": "splits/none.csv"})
    shutil.rmtree(raw)
    with pytest.raises(UserError, match=r"^splits/none.csv: No such file or directory: expected"):
        call(split)


def test_split_is_the_same_whatever_the_number_of_cores(
    raw: Path, workspace: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "data/manifest.csv", "data/splits.csv", "data/folds.csv", "data/duplicates.csv",
        "data/bad_samples.csv", "metrics/data.json",
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
    assert counts()["bad_samples"] == {
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
    assert counts()["samples"]["no_input"] == {"unlabelled": 2}


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
