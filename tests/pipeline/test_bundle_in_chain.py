"""The bundle as people get and use it: `dvc artifacts get`, `predict`, the Python API."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

from sentifuse.data.text import decode
from sentifuse.deploy import bundle
from sentifuse.deploy.predictor import Predictor
from sentifuse.errors import UserError
from stages import explain, report
from tests.pipeline.project import LABELS, Project, call
from tools.encoder_folders import make_encoder_folder

STAGES = ("preprocess", "train_stage1", "train_stage2", "infer", "package")
RUN_STAGES = """
import importlib, sys
from sentifuse.runtime import process
for name in sys.argv[1:]:
    stage = importlib.import_module(name)
    process.run_stage(stage.main, stage.Params)
"""


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_stage_packs_what_the_chain_made(finished: Project) -> None:
    folder = finished.folder
    config = bundle.verify(folder / "models" / "bundle")
    metrics = json.loads((folder / "metrics" / "evaluate.json").read_text(encoding="utf-8"))
    assert config["metrics"] == metrics
    meta = json.loads((folder / "data" / "features" / "meta.json").read_text(encoding="utf-8"))
    encoders = config["encoding"]["encoders"]
    for name in ("key", "modality", "fingerprint"):
        assert [each[name] for each in encoders] == [each[name] for each in meta["encoders"]]
    assert {each["key"]: each["split"] for each in encoders} == {"image_clip": 0, "text_clip": 1}
    counts = config["data"]["samples"]
    assert {part: sum(rows.values()) for part, rows in counts.items()} == {
        "train": 24, "val": 3, "test": 3
    }  # fmt: skip
    assert config["params"]["stage1"]["epochs"] == 3
    assert "/" not in config["data"]["name"]


@pytest.mark.parametrize(
    ("views", "precision", "more_texts"),
    [("plain", "fp32", False), ("mean", "bf16", False), ("plain", "fp32", True)],
)
def test_infer_predict_and_python_give_the_same_figures(
    finished: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    views: str,
    precision: str,
    more_texts: bool,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    project = finished.copy(tmp_path / "project", without=(".git", ".dvc"))
    project.set(
        {
            "augment.views": 2,
            "image_views.predict": views,
            "backbone.precision": precision,
        }
    )
    if more_texts:
        bert = make_encoder_folder("bert", tmp_path / "bert")
        project.set({"backbone.text": [str(bert), "minilm-l6"]})
    project.run(sys.executable, "-c", RUN_STAGES, *(f"stages.{name}" for name in STAGES))
    manifest = {row["guid"]: row for row in table(project.folder / "data" / "manifest.csv")}
    expected = table(project.folder / "data" / "predictions" / "predictions.csv")
    own = [manifest[row["guid"]] for row in expected]

    lines = [f"{row['guid']},{row['image']},{row['text']}" for row in own]
    pairs = "\n".join(["guid,image,text_file", *lines])
    (project.folder / "pairs.csv").write_text(pairs, encoding="utf-8")
    options = ("--csv", "pairs.csv", "--out", "out.csv")
    project.run(sys.executable, "-m", "sentifuse", "predict", *options)
    found = table(project.folder / "out.csv")
    figures = [f"p_{label}" for label in LABELS]
    figures += ["confidence", "text_contribution", "image_contribution"]
    for name in ("guid", "tag", *figures):
        assert [row[name] for row in found] == [row[name] for row in expected], name

    predictor = Predictor.load(project.folder / "models" / "bundle")
    for row, sample in zip(expected, own, strict=True):
        words = decode((project.folder / sample["text"]).read_bytes())
        one = predictor.predict(project.folder / sample["image"], words)
        assert one.label == row["tag"]
        values = [one.probabilities[label] for label in LABELS]
        values += [one.confidence, one.text_contribution, one.image_contribution]
        assert [f"{value:.6f}" for value in values] == [row[name] for name in figures]


def test_cards_of_the_report_are_explained(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    project = finished.copy(tmp_path / "project", without=(".git", ".dvc"))
    project.set({"explain.cards": 2})
    monkeypatch.chdir(project.folder)
    call(explain)
    found = json.loads(explain.OUT.read_text(encoding="utf-8"))
    samples = {row["guid"]: row for row in table(explain.SAMPLES)}
    assert found
    for guid, explanation in found.items():
        assert explanation["prediction"]["label"] == samples[guid]["predicted"]
        for label, share in explanation["prediction"]["probabilities"].items():
            assert f"{share:.6f}" == samples[guid][f"p_{label}"]
        assert len(explanation["grid"]) == 4
        assert explanation["words"]
    before = explain.OUT.read_bytes()
    call(explain)
    assert explain.OUT.read_bytes() == before
    call(report)
    page = report.OUT.read_text(encoding="utf-8")
    assert page.count('<svg class="parts"') >= len(found)


def test_without_its_encoders_nothing_is_explained(
    finished: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = finished.copy(tmp_path / "project", without=(".git", ".dvc"))
    monkeypatch.chdir(project.folder)
    shutil.rmtree("models/bundle")
    project.set({"explain.cards": 2})
    with pytest.raises(UserError, match=r"models/bundle.*; or set explain.cards=0: then nothing"):
        call(explain)
    project.set({"explain.cards": 0})
    call(explain)
    assert json.loads(explain.OUT.read_text(encoding="utf-8")) == {}


def test_without_a_test_part_the_bundle_has_no_metrics(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project", without=(".git", ".dvc"))
    metrics = project.folder / "metrics" / "evaluate.json"
    metrics.write_text('{"note": "there is nothing to evaluate on"}', encoding="utf-8")
    before = (project.folder / "models" / "bundle" / "model.safetensors").read_bytes()
    project.run(sys.executable, "-m", "stages.package")
    folder = project.folder / "models" / "bundle"
    assert (folder / "model.safetensors").read_bytes() == before
    assert "model-index" not in (folder / "README.md").read_text(encoding="utf-8")
    Predictor.load(folder)


def test_the_registered_artifact_is_fetched_from_a_remote(
    finished: Project, tmp_path: Path
) -> None:
    project = finished.copy(tmp_path / "project")
    remote = tmp_path / "remote"
    project.dvc("remote", "add", "--default", "store", str(remote))
    project.commit("remote")
    project.dvc("push", "models/bundle")
    # DVC finds annotated tags only.
    project.git("tag", "--annotate", "sentiment@v1.0.0", "--message", "first")

    clone = Project(tmp_path / "clone")
    project.git("clone", "--quiet", str(project.folder), str(clone.folder))
    assert not (clone.folder / "models").exists()
    # Nothing but the remote has the bundle.
    shutil.rmtree(project.folder / ".dvc" / "cache")
    clone.dvc("artifacts", "get", ".", "sentiment", "--out", "fetched")
    expected = finished.folder / "models" / "bundle"
    for path in expected.iterdir():
        assert (clone.folder / "fetched" / path.name).read_bytes() == path.read_bytes()
    elsewhere = Project(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.dvc("artifacts", "get", str(clone.folder), "sentiment", "--rev", "v1.0.0")
    bundle.verify(elsewhere.folder / "bundle")
