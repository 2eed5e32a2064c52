"""The whole pipeline, through DVC and stage by stage, on 34 pairs and a tiny CLIP model."""

import csv
import importlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sentifuse.evaluation import variants
from sentifuse.features.engines import local
from tests.pipeline.project import LABELS, OUTPUTS, STAGES, Project, call, stages_run
from tests.serial_pool import SerialPool
from tools.encoder_folders import make_encoder_folder

WITHOUT_DVC = (".git", ".dvc")
RunStages = Callable[..., str]


@pytest.fixture
def run_stages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunStages:
    """Runs stages in this process, in the folder of a project."""

    def run(project: Project, *names: str) -> str:
        monkeypatch.chdir(project.folder)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        for module in (variants, local):
            monkeypatch.setattr(module, "ProcessPoolExecutor", SerialPool)
        capsys.readouterr()
        for name in names:
            call(importlib.import_module(f"stages.{name}"))
        return capsys.readouterr().out

    return run


@pytest.fixture
def plain(finished: Project, tmp_path: Path) -> Project:
    """A copy to work on without DVC."""
    return finished.copy(tmp_path / "project", without=WITHOUT_DVC)


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def metrics(project: Project, name: str = "evaluate") -> dict[str, Any]:
    text = (project.folder / "metrics" / f"{name}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def report(project: Project) -> str:
    return (project.folder / "reports" / "report.html").read_text(encoding="utf-8")


def feature_files(project: Project) -> set[str]:
    """The paths below `data/features/`."""
    start = "data/features/"
    return {name.removeprefix(start) for name in project.contents() if name.startswith(start)}


def check_predictions(project: Project, labels: tuple[str, ...] = LABELS) -> None:
    """The submission has the rows of the test file; every row of probabilities is one."""
    folder = project.folder / "data" / "predictions"
    wanted = [row["guid"] for row in table(project.folder / "raw" / "test_without_label.txt")]
    submission = table(folder / "submission.txt")
    assert [row["guid"] for row in submission] == wanted
    assert len(wanted) == 4
    rows = table(folder / "predictions.csv")
    assert [(row["guid"], row["tag"]) for row in rows] == [
        (row["guid"], row["tag"]) for row in submission
    ]
    assert list(rows[0]) == [
        "guid", "tag", *(f"p_{label}" for label in labels),
        "confidence", "uncertain", "text_contribution", "image_contribution", "missing",
    ]  # fmt: skip
    for row in rows:
        found = {label: float(row[f"p_{label}"]) for label in labels}
        assert math.isclose(sum(found.values()), 1, abs_tol=3e-6)
        assert found[row["tag"]] == max(found.values()) == float(row["confidence"])
        assert row["uncertain"] == "false"
        assert row["missing"] == ""


def check_metrics(found: dict[str, Any], part: str) -> None:
    assert set(found[part]["per_class"]) == set(LABELS)
    assert found[part]["samples"] == 3
    assert 0 <= found[part]["macro_f1"] <= 1
    for figure, ends in found[part]["interval"].items():
        assert 0 <= ends["low"] <= ends["high"] <= 1, figure


# A run through DVC


def test_a_first_run_writes_every_output(finished: Project) -> None:
    document = yaml.safe_load((finished.folder / "dvc.yaml").read_text(encoding="utf-8"))
    for stage in document["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                name = entry if isinstance(entry, str) else next(iter(entry))
                path = finished.folder / name
                assert path.stat().st_size > 0, name
                assert path.is_file() or any(path.iterdir()), name
    assert feature_files(finished) == {
        "meta.json",
        "encoding.json",
        "guids.txt",
        "prompts.safetensors",
        "image_clip/embeddings.npy",
        "image_clip/tokens.npy",
        "text_clip/embeddings.npy",
        "text_clip/offsets.npy",
        "text_clip/tokens.npy",
        "text_clip/hidden.npy",
        "text_clip/tail.safetensors",
    }


def test_the_split_table_holds_every_sample_once(finished: Project) -> None:
    rows = table(finished.folder / "data" / "splits.csv")
    assert len({row["guid"] for row in rows}) == len(rows) == 34
    counts = {name: sum(row["split"] == name for row in rows) for name in ("train", "val", "test")}
    assert counts == {"train": 24, "val": 3, "test": 3}
    assert {row["label"] for row in rows if row["split"] == "predict"} == {""}
    assert len({row["group"] for row in rows}) == 32
    manifest = table(finished.folder / "data" / "manifest.csv")
    assert [row["guid"] for row in manifest] == sorted(row["guid"] for row in rows)
    assert len({row["image"].rpartition(".")[2] for row in manifest}) == 4


def test_twins_are_listed_and_counted(finished: Project) -> None:
    rows = table(finished.folder / "data" / "duplicates.csv")
    assert [row["group"] for row in rows] == [rows[0]["guid"]] * 2 + [rows[2]["guid"]] * 2
    assert rows[0]["split"] == rows[1]["split"] != "predict"
    assert rows[0]["clean_text"] == rows[1]["clean_text"]
    assert rows[2]["image_sha256"] == rows[3]["image_sha256"]
    assert sum(row["split"] == "predict" for row in rows) == 1
    found = metrics(finished, "data")
    assert found["samples"] == {
        **{part: dict.fromkeys(LABELS, n) for part, n in (("train", 8), ("val", 1), ("test", 1))},
        "predict": {"unlabelled": 4},
    }
    assert (found["duplicates"]["groups"], found["duplicates"]["samples"]) == (1, 2)
    assert found["duplicates"]["groups_with_unlabelled"] == 1
    assert found["duplicates"]["label_agreement"]["image_file"] is None


def test_features_are_finite_and_in_the_order_of_the_manifest(finished: Project) -> None:
    folder = finished.folder / "data" / "features"
    manifest = table(finished.folder / "data" / "manifest.csv")
    guids = (folder / "guids.txt").read_text(encoding="utf-8").splitlines()
    assert guids == [row["guid"] for row in manifest]
    for encoder in ("image_clip", "text_clip"):
        array = np.load(folder / encoder / "embeddings.npy")
        assert array.shape == (34, 1, 16)
        assert np.isfinite(array).all()
        assert len(np.unique(array.reshape(34, -1), axis=0)) > 25
    # 4 x 4 patches and the class token.
    assert np.load(folder / "image_clip" / "tokens.npy").shape == (34, 17, 32)
    offsets = np.load(folder / "text_clip" / "offsets.npy")
    assert np.load(folder / "text_clip" / "hidden.npy").shape == (offsets[-1], 32)


def test_predictions_are_in_the_order_of_the_test_file(finished: Project) -> None:
    check_predictions(finished)


def test_metrics_are_keyed_by_class_name(finished: Project) -> None:
    for part in ("val", "test"):
        check_metrics(metrics(finished), part)


def test_a_model_stands_beside_baselines_on_the_same_samples(finished: Project) -> None:
    found = metrics(finished)
    assert list(found["baselines"]) == [
        "majority", "text_only", "image_only", "logistic_regression", "linear_probe", "zero_shot_image",
        "zero_shot",
    ]  # fmt: skip
    for baseline in found["baselines"].values():
        for score in ("accuracy", "macro_f1"):
            expected = found["test"][score] - baseline[score]
            assert math.isclose(baseline["model_minus"][score]["mean"], expected)
    # Three classes alike: the first of them is answered to one sample of each.
    assert math.isclose(found["baselines"]["majority"]["accuracy"], 1 / 3)
    assert set(found["test"]["calibration"]) == {"temperature", "before", "after", "aurc"}


def test_variants_are_compared_with_the_model_that_sees_both(finished: Project) -> None:
    found = metrics(finished, "ablate")
    assert list(found) == ["multimodal", "text_only", "image_only"]
    assert {row["runs"] for row in found.values()} == {1}
    assert "minus_multimodal" not in found["multimodal"]
    for name in ("text_only", "image_only"):
        difference = found[name]["minus_multimodal"]
        assert difference["method"].startswith("corrected resampled t-test over splits")
        for score in ("accuracy", "macro_f1"):
            mean = found[name][score]["mean"] - found["multimodal"][score]["mean"]
            # One pair of runs gives no interval.
            assert set(difference[score]) == {"mean", "wins", "pairs"}
            assert math.isclose(difference[score]["mean"], mean)
    runs = table(finished.folder / "plots" / "ablate_runs.csv")
    assert [row["variant"] for row in runs] == list(found)
    assert {(row["seed"], row["split_seed"], row["train_samples"]) for row in runs} == {
        ("42", "42", "24")
    }


def test_every_test_sample_can_be_looked_at(finished: Project) -> None:
    rows = table(finished.folder / "data" / "evaluation" / "test.csv")
    splits = table(finished.folder / "data" / "splits.csv")
    assert [(row["guid"], row["label"]) for row in rows] == [
        (row["guid"], row["label"]) for row in splits if row["split"] == "test"
    ]
    confusion = table(finished.folder / "plots" / "confusion.csv")
    assert [(row["label"], row["predicted"]) for row in rows] == [
        (row["actual"], row["predicted"]) for row in confusion
    ]
    for row in rows:
        for model in ("", "text_only.", "image_only."):
            shares = [float(row[f"{model}p_{label}"]) for label in LABELS]
            assert math.isclose(sum(shares), 1, abs_tol=3e-6)


def test_the_report_shows_a_card_for_each_mistake_disagreement_and_doubted_label(
    finished: Project,
) -> None:
    samples = table(finished.folder / "data" / "evaluation" / "test.csv")
    wrong = [row for row in samples if row["label"] != row["predicted"]]

    def says(row: dict[str, str], model: str) -> str:
        return max(LABELS, key=lambda label: float(row[f"{model}.p_{label}"]))

    differ = [row for row in samples if says(row, "text_only") != says(row, "image_only")]
    # Fewer than `report.gallery` of each.
    audited = table(finished.folder / "data" / "label_audit.csv")
    doubted = [row for row in audited if row["suggested"]][:12]
    cards = len(wrong) + len(differ) + len(doubted)
    assert report(finished).count('<article class="card">') == cards
    assert wrong or differ or doubted
    for row in [*wrong, *doubted]:
        assert f'<span class="guid">{row["guid"]}</span>' in report(finished)


def test_every_labelled_sample_is_audited_once(finished: Project) -> None:
    rows = table(finished.folder / "data" / "label_audit.csv")
    labels = {row["guid"]: row["label"] for row in table(finished.folder / "data" / "splits.csv")}
    assert {row["guid"]: row["label"] for row in rows} == {
        guid: label for guid, label in labels.items() if label
    }
    found = metrics(finished, "audit")
    assert found["samples"] == len(rows) == 30
    assert found["doubted"] == sum(bool(row["suggested"]) for row in rows)
    assert sum(bool(row["twins"]) for row in rows) == 2


def test_plots_have_a_row_an_epoch_and_a_row_a_test_sample(finished: Project) -> None:
    plots = finished.folder / "plots"
    for name, epochs in (("stage1", 3), ("stage2", 2)):
        rows = table(plots / f"{name}.csv")
        assert [row["epoch"] for row in rows] == [str(epoch + 1) for epoch in range(epochs)]
    assert len(table(plots / "confusion.csv")) == 3


def test_a_second_run_does_nothing_and_leaves_git_clean(copied: Project) -> None:
    assert stages_run(copied.dvc("repro")) == []
    assert "up to date" in copied.dvc("status")
    assert copied.git("status", "--porcelain") == ""


def test_another_split_seed_does_not_encode_again(copied: Project) -> None:
    before = copied.contents()
    copied.set({"split.seed": 43})
    assert stages_run(copied.dvc("repro", "preprocess")) == ["split"]
    after = copied.contents()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"data/splits.csv", "data/duplicates.csv", "metrics/data.json"}
    assert "train_stage1" in copied.dvc("status")


def test_another_fusion_trains_again_and_does_not_encode_again(
    finished: Project, copied: Project
) -> None:
    copied.set({"fusion": "gated"})
    status = json.loads(copied.dvc("status", "--json"))
    assert not {"demo_data", "split", "preprocess"} & set(status)
    assert {"train_stage1", "ablate"} <= set(status)
    output = copied.dvc("repro", "evaluate")
    assert stages_run(output) == ["train_stage1", "train_stage2", "evaluate"]
    assert "Stage 'preprocess' didn't change, skipping" in output
    assert json.loads(copied.dvc("status", "--json", "infer"))["infer"]
    # On three samples some scores may well be the same: `--all` tells those, too.
    diff = json.loads(copied.dvc("metrics", "diff", "--all", "--json"))["metrics/evaluate.json"]
    for key, project in (("old", finished), ("new", copied)):
        expected = metrics(project)["test"]
        assert diff["test.macro_f1"][key] == expected["macro_f1"]
        for label in LABELS:
            assert diff[f"test.per_class.{label}.f1"][key] == expected["per_class"][label]["f1"]


# Stage by stage


def test_everything_comes_out_the_same_without_caches_dvc_and_worker_processes(
    finished: Project, tmp_path: Path, run_stages: RunStages
) -> None:
    again = finished.copy(
        tmp_path / "elsewhere",
        without=(*WITHOUT_DVC, ".sentifuse", *OUTPUTS),
    )
    assert again.contents() == {}
    run_stages(again, *STAGES)
    expected = {k: v for k, v in finished.contents().items() if not k.endswith(".gitignore")}
    found = again.contents()
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def test_without_held_out_rows_there_is_nothing_to_evaluate_on(
    plain: Project, run_stages: RunStages
) -> None:
    plain.set({"split.val_size": 0.0, "split.test_size": 0.0})
    output = run_stages(
        plain,
        "split",
        "train_stage1",
        "train_stage2",
        "train_baselines",
        "evaluate",
        "ablate",
        "report",
        "infer",
    )
    assert "There is no test part" in report(plain)
    note = "val_size and test_size are 0: there is nothing to evaluate on"
    assert metrics(plain) == {"device": "cpu", "precision": "fp32", "note": note}
    assert note in output
    assert metrics(plain, "ablate") == {"note": "test_size is 0: there is nothing to compare on"}
    for name in ("confusion", "reliability", "risk_coverage", "ablate", "ablate_runs"):
        assert table(plain.folder / "plots" / f"{name}.csv") == [], name
    assert table(plain.folder / "data" / "evaluation" / "test.csv") == []
    assert table(plain.folder / "data" / "ablation" / "samples.csv") == []
    assert {row["split"] for row in table(plain.folder / "data" / "splits.csv")} == {
        "train", "predict"
    }  # fmt: skip
    history = table(plain.folder / "plots" / "stage1.csv")
    assert len(history) == 3
    assert set(history[0]) == {"epoch", "train_loss", "lr_head"}
    check_predictions(plain)


def test_validation_alone_is_evaluated(plain: Project, run_stages: RunStages) -> None:
    plain.set({"split.test_size": 0.0})
    run_stages(
        plain,
        "split",
        "train_stage1",
        "train_stage2",
        "train_baselines",
        "evaluate",
        "ablate",
        "report",
    )
    assert set(metrics(plain)) == {"device", "precision", "val"}
    assert "On validation, which chose the epoch" in report(plain)
    assert "note" in metrics(plain, "ablate")


@pytest.mark.parametrize("changes", [{}, {"fusion": "cross_attn"}, {"unfreeze_vision_layers": 1}])
def test_bad_rows_are_left_out_of_training_and_predicted_from_what_they_have(
    plain: Project, run_stages: RunStages, changes: dict[str, Any]
) -> None:
    before = table(plain.folder / "data" / "predictions" / "predictions.csv")
    guids = [row["guid"] for row in before]
    files = {row["guid"]: row for row in table(plain.folder / "data" / "manifest.csv")}
    (plain.folder / files[guids[0]]["image"]).write_bytes(b"")
    (plain.folder / files[guids[2]]["text"]).write_bytes(b"")
    (plain.folder / files[guids[3]]["image"]).unlink()
    (plain.folder / files[guids[3]]["text"]).unlink()
    with (plain.folder / "raw" / "test_without_label.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{guids[place]},null\n" for place in (3, 0))
    plain.set({"data.on_bad_sample": "skip", **changes})
    stored = {path.name for path in (plain.folder / ".sentifuse" / "store").rglob("*.safetensors")}
    run_stages(
        plain,
        "split",
        "preprocess",
        "train_stage1",
        "train_stage2",
        "train_baselines",
        "evaluate",
        "report",
        "infer",
    )
    if "unfreeze_vision_layers" not in changes:
        # Nothing was encoded for a file that is not there.
        now = {path.name for path in (plain.folder / ".sentifuse" / "store").rglob("*.safetensors")}
        assert now == stored
    found = table(plain.folder / "data" / "predictions" / "predictions.csv")
    assert [row["guid"] for row in found] == [*guids, guids[3], guids[0]]
    assert [row["missing"] for row in found[:4]] == ["image", "", "text", "image+text"]
    assert found[4:] == [found[3], found[0]]  # one answer for a guid that stands twice
    submission = table(plain.folder / "data" / "predictions" / "submission.txt")
    assert [(row["guid"], row["tag"]) for row in submission] == [
        (row["guid"], row["tag"]) for row in found
    ]
    for row in found:
        shares = [float(row[f"p_{label}"]) for label in LABELS]
        assert math.isclose(sum(shares), 1, abs_tol=3e-6)
    assert {found[3][f"p_{label}"] for label in LABELS} == {"0.333333"}
    features = plain.folder / "data" / "features"
    rows = (features / "guids.txt").read_text(encoding="utf-8").splitlines()
    assert guids[3] not in rows
    for encoder, guid in (("image_clip", guids[0]), ("text_clip", guids[2])):
        assert not np.load(features / encoder / "embeddings.npy")[rows.index(guid)].any()
    if not changes:
        # Neither the samples that train nor what is learnt of them has changed.
        assert found[1]["tag"] == before[1]["tag"]
        expected = float(before[1]["confidence"])
        assert math.isclose(float(found[1]["confidence"]), expected, abs_tol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"input_mode": "text_only"},
        {"input_mode": "image_only"},
        {"fusion": "cross_attn"},
        {"fusion": "film_concat", "loss.class_weights": "balanced", "loss.label_smoothing": 0.1},
        {"stage1.epochs": 0, "stage2.epochs": 0},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_a_variant_trains_and_predicts(
    plain: Project, run_stages: RunStages, changes: dict[str, Any]
) -> None:
    before = plain.contents()
    plain.set(changes)
    run_stages(
        plain, "train_stage1", "train_stage2", "train_baselines", "evaluate", "report", "infer"
    )
    check_predictions(plain)
    for part in ("val", "test"):
        check_metrics(metrics(plain), part)
    after = plain.contents()
    for name in ("models/stage1/model.safetensors", "data/predictions/predictions.csv"):
        assert after[name] != before[name]


def test_views_and_vision_layers_go_through_the_chain(
    plain: Project, run_stages: RunStages
) -> None:
    plain.set(
        {
            "unfreeze_vision_layers": 1,
            "augment.views": 2,
            "image_views.train": "draw",
            "image_views.predict": "mean",
        }
    )
    run_stages(
        plain, "preprocess", "train_stage1", "train_stage2", "train_baselines", "evaluate", "infer"
    )
    features = plain.folder / "data" / "features"
    views = np.load(features / "image_clip" / "embeddings.npy")
    assert views.shape == (34, 3, 16)
    assert np.abs(views[:, 0] - views[:, 1]).max(axis=1).min() > 0
    assert np.abs(views[:, 1] - views[:, 2]).max(axis=1).min() > 0
    assert np.load(features / "image_clip" / "hidden.npy").shape == (34, 3, 17, 32)
    assert (features / "image_clip" / "tail.safetensors").exists()
    check_metrics(metrics(plain), "test")
    check_predictions(plain)
    # Averaging all views at prediction is told to evaluate and infer by the checkpoint.
    config = json.loads((plain.folder / "models/stage2/config.json").read_text(encoding="utf-8"))
    assert config["info"]["predict_views"] == "mean"
    averaged = plain.contents()["data/predictions/predictions.csv"]
    plain.set({"image_views.predict": "plain"})
    run_stages(plain, "train_stage1", "train_stage2", "infer")
    assert plain.contents()["data/predictions/predictions.csv"] != averaged


@pytest.mark.parametrize("fusion", ["concat", "cross_attn"])
def test_two_text_encoders_go_through_the_chain(
    plain: Project, run_stages: RunStages, tmp_path: Path, fusion: str
) -> None:
    """One that comes with pip and one of a folder, of which other numbers of layers are finetuned."""
    bert = make_encoder_folder("bert", tmp_path / "bert")
    plain.set(
        {
            "backbone.text": ["minilm-l6", str(bert)],
            "unfreeze_text_layers": [1, 2],
            "fusion": fusion,
        }
    )
    run_stages(plain, *STAGES[STAGES.index("preprocess") :])
    of_texts = {name for name in feature_files(plain) if name.startswith("text_")}
    # Attention reads the tokens of the first encoder of a modality.
    assert of_texts == {
        "text_minilm-l6/embeddings.npy",
        "text_minilm-l6/offsets.npy",
        "text_minilm-l6/tokens.npy",
        "text_minilm-l6/hidden.npy",
        "text_minilm-l6/tail.safetensors",
        "text_bert/embeddings.npy",
        "text_bert/offsets.npy",
        "text_bert/hidden.npy",
        "text_bert/tail.safetensors",
    }
    check_metrics(metrics(plain), "test")
    check_predictions(plain)
    config = json.loads((plain.folder / "models/stage2/config.json").read_text(encoding="utf-8"))
    assert {each["key"]: each["tail"] and each["tail"]["layers"] for each in config["model"]["encoders"]} == {
        "image_clip": None, "text_minilm-l6": 1, "text_bert": 2
    }  # fmt: skip
    features = metrics(plain, "features")
    assert list(features) == ["image_clip", "text_minilm-l6", "text_bert"]
    shown = report(plain)
    for key, layers in (("text_minilm-l6", 1), ("text_bert", 2)):
        name = features[key]["name"]
        assert (
            f"{name} for texts (last {layers} layer{'s' if layers > 1 else ''} finetuned)" in shown
        )
        assert f"Texts, as {name} reads them: {features[key]['texts']}." in shown
    assert f"encoders {features['image_clip']['name']} for images (frozen)" in shown
    card = (plain.folder / "models" / "bundle" / "README.md").read_text(encoding="utf-8")
    assert f"`minilm-l6` for texts, `{bert}` for texts" in card
