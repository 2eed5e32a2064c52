"""Tests of the stages that train and apply a model, on made-up features."""

import csv
import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch

from sentifuse.data import duplicates
from sentifuse.errors import UserError
from sentifuse.evaluation import variants
from sentifuse.models import checkpoint
from sentifuse.runtime.files import write_json, write_text
from sentifuse.training import resume, trial
from stages import (
    ablate,
    audit,
    cross_validate,
    evaluate,
    infer,
    package,
    train_baselines,
    train_stage1,
    train_stage2,
)
from tests.pipeline.project import LABELS, Project, call
from tests.serial_pool import SerialPool
from tests.synthetic import IMAGE, TEXT, make_features, tail_weights

TRAIN, VAL, TEST, PREDICT = 60, 9, 9, 4


def write_features(folder: Path, count: int) -> None:
    """Easy features of `count` samples, classes in turn."""
    features = make_features([index % 3 for index in range(count)], noise=0.02)
    folder.mkdir(parents=True)
    write_text(folder / "guids.txt", "".join(f"{guid}\n" for guid in features.guids))
    digests: dict[str, dict[str, str]] = {each.key: {} for each in features.meta.encoders}
    write_json(folder / "meta.json", {**asdict(features.meta), "digests": digests})
    for encoder in features.meta.encoders:
        own = folder / encoder.key
        own.mkdir()
        for name, array in vars(features.arrays[encoder.key]).items():
            if array is not None:
                np.save(own / f"{name}.npy", array)
        assert encoder.tail is not None
        safetensors.torch.save_file(tail_weights(encoder.tail), own / "tail.safetensors")


def write_manifest(path: Path, count: int, lacking: Mapping[int, str] = {}) -> None:
    """The manifest of `count` samples; those in `lacking` lack what it says."""
    rows = ["guid,image,text,image_sha256,text_sha256"]
    for index in range(count):
        lacks = lacking.get(index, "")
        rows.append(
            f"{index},{'' if lacks == 'image' else 'i.png'},{'' if lacks == 'text' else 't.txt'},,"
        )
    write_text(path, "\n".join(rows) + "\n")


def write_duplicates(path: Path, pairs: Sequence[tuple[int, int]]) -> None:
    """A table in which each pair is one of train and one of the test part with one text."""
    rows = [",".join(duplicates.COLUMNS)]
    for one, other in pairs:
        parts = ((one, "train"), (other, "test"))
        rows += [f"{guid},{one},,{part},i.png,,,same {one}" for guid, part in parts]
    write_text(path, "\n".join(rows) + "\n")


def write_splits(path: Path, sizes: dict[str, int]) -> None:
    parts = [name for name, size in sizes.items() for _ in range(size)]
    rows = [
        f"{index},{'' if part == 'predict' else LABELS[index % 3]},{part},{index}"
        for index, part in enumerate(parts)
    ]
    write_text(path, "\n".join(["guid,label,split,group", *rows]) + "\n")


@pytest.fixture
def ready(workspace: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A folder in which `preprocess` has run."""
    monkeypatch.setattr(variants, "ProcessPoolExecutor", SerialPool)
    sizes = {"train": TRAIN, "val": VAL, "test": TEST, "predict": PREDICT}
    write_features(workspace.folder / "data" / "features", sum(sizes.values()))
    write_splits(workspace.folder / "data" / "splits.csv", sizes)
    write_manifest(workspace.folder / "data" / "manifest.csv", sum(sizes.values()))
    write_text(workspace.folder / "t.txt", "what a day")
    write_duplicates(workspace.folder / "data" / "duplicates.csv", [])
    write_text(workspace.folder / "data" / "modality_labels.csv", "guid,text_label,image_label\n")
    workspace.set(
        {
            "head.hidden_dims": [16],
            "head.dropout": 0.0,
            "stage1.epochs": 40,
            "stage1.early_stop_patience": 0,
            "stage1.batch_size": 8,
            "stage1.lr_head": 0.01,
            "stage2.epochs": 2,
            "stage2.batch_size": 8,
            "augment.views": 0,
            "image_views.train": "plain",
            "image_views.predict": "plain",
            "interval.resamples": 100,
        }
    )
    return workspace


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_both_stages_learn_what_is_easy(ready: Project, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in (train_stage1, train_stage2, train_baselines, evaluate, infer):
        call(stage)
    metrics = read("metrics/evaluate.json")
    assert metrics["val"]["samples"] == VAL
    assert metrics["test"]["samples"] == TEST
    assert metrics["val"]["accuracy"] == metrics["test"]["accuracy"] == 1.0
    out = capsys.readouterr().out
    assert (
        "test: accuracy 1.000 (1.000 to 1.000), macro_f1 1.000 (1.000 to 1.000), "
        "weighted_f1 1.000 (1.000 to 1.000) (9 samples)\n"
        "majority: accuracy 0.333 (0.333 to 0.333), macro_f1 0.167 (0.167 to 0.167), "
        "weighted_f1 0.167 (0.167 to 0.167)\n"
    ) in out
    assert "data/predictions/submission.txt: 4 rows\n" in out
    first = TRAIN + VAL + TEST
    assert rows("data/predictions/submission.txt") == [
        {"guid": str(first + index), "tag": LABELS[(first + index) % 3]} for index in range(PREDICT)
    ]


def test_the_order_of_the_labels_is_that_of_the_params(ready: Project) -> None:
    ready.set({"labels": ["positive", "negative", "neutral"]})
    for stage in (train_stage1, train_stage2, train_baselines, evaluate, infer):
        call(stage)
    assert read("models/stage2/config.json")["model"]["labels"] == [
        "positive",
        "negative",
        "neutral",
    ]
    assert list(read("metrics/evaluate.json")["test"]["per_class"]) == [
        "positive", "negative", "neutral"
    ]  # fmt: skip
    assert read("metrics/evaluate.json")["test"]["accuracy"] == 1.0
    assert list(rows("data/predictions/predictions.csv")[0])[2:] == [
        "p_positive", "p_negative", "p_neutral",
        "confidence", "uncertain", "text_contribution", "image_contribution", "missing",
    ]  # fmt: skip


def test_stage_1_leaves_the_encoders_out_and_stage_2_takes_them_in(ready: Project) -> None:
    call(train_stage1)
    call(train_stage2)
    weights = {
        stage: safetensors.torch.load_file(f"models/{stage}/model.safetensors")
        for stage in ("stage1", "stage2")
    }
    assert not [name for name in weights["stage1"] if "tail" in name]
    for encoder in (IMAGE, TEXT):
        assert [name for name in weights["stage2"] if name.startswith(f"tails.{encoder}.")]
    assert set(weights["stage1"]) < set(weights["stage2"])


def test_a_run_can_be_repeated_to_the_last_bit(ready: Project) -> None:
    found = []
    for _ in range(2):
        for stage in (train_stage1, train_stage2, infer):
            call(stage)
        paths = [path for name in ("models", "plots", "data/predictions") for path in sorted(
            Path(name).rglob("*")) if path.is_file()]  # fmt: skip
        found.append({path: path.read_bytes() for path in paths})
    assert len(found[0]) == 8
    assert found[0] == found[1]


@pytest.mark.parametrize("stage", [train_stage1, train_stage2])
def test_a_killed_stage_takes_up_what_it_had(
    ready: Project, monkeypatch: pytest.MonkeyPatch, stage: Any
) -> None:
    call(train_stage1)
    restored = []
    save, restore = resume.Kept.save, resume.Kept.restore

    def killed(kept: resume.Kept, loop: resume.Loop) -> None:
        save(kept, loop)
        raise KeyboardInterrupt

    def told(kept: resume.Kept, loop: resume.Loop) -> bool:
        restored.append(restore(kept, loop))
        return restored[-1]

    monkeypatch.setattr(resume.Kept, "restore", told)
    with monkeypatch.context() as once:
        once.setattr(resume.Kept, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            call(stage)
    call(stage)
    assert restored == [False, True]
    assert list(Path(".sentifuse/resume").rglob("state")) == []


@pytest.mark.parametrize("noise", ["drop", "weight"])
def test_labels_that_are_probably_wrong_count_less_in_every_stage_that_trains(
    ready: Project, noise: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _mislabel(range(0, 12, 2))
    ready.set({"loss.noise": noise, "ablate.repeats": 2, "ablate.modes": ["multimodal"]})
    for stage in (train_stage1, train_stage2, train_baselines, evaluate, ablate):
        call(stage)
    assert read("metrics/evaluate.json")["test"]["accuracy"] == 1.0
    assert {row["train_samples"] for row in rows("plots/ablate_runs.csv")} <= {"60", "61", "62"}
    assert f"loss.noise: {noise}: 6 of 60 training labels are doubted\n" in capsys.readouterr().out


def _mislabel(places: Iterable[int]) -> None:
    """Gives some rows of the split table the next label."""
    table = pd.read_csv("data/splits.csv", dtype=str, keep_default_na=False)
    for place in places:
        label = table.loc[place, "label"]
        table.loc[place, "label"] = LABELS[(LABELS.index(label) + 1) % 3]
    table.to_csv("data/splits.csv", index=False, lineterminator="\n")


def test_the_audit_names_the_labels_that_are_wrong(
    ready: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    _mislabel([3, 40, 65])
    write_text(Path("data/duplicates.csv"), "guid,group,label\n3,3,neutral\n6,3,negative\n")
    call(audit)
    found = rows("data/label_audit.csv")
    assert len(found) == TRAIN + VAL + TEST
    assert {row["guid"] for row in found[:3]} == {"3", "40", "65"}
    assert [row["guid"] for row in found if row["suggested"]] == [row["guid"] for row in found[:3]]
    twins = {row["guid"]: row["twins"] for row in found}
    assert (twins["3"], twins["6"], twins["40"]) == ("negative", "neutral", "")
    assert read("metrics/audit.json")["doubted"] == 3
    assert "data/label_audit.csv: 3 of 78 labels are doubted; estimated" in capsys.readouterr().out


def test_without_enough_samples_for_the_folds_the_audit_says_so(ready: Project) -> None:
    ready.set({"audit.folds": 30})
    write_text(Path("data/duplicates.csv"), "guid,group,label\n")
    call(audit)
    assert read("metrics/audit.json")["note"].startswith("audit.folds: 30 folds: the label")
    assert rows("data/label_audit.csv") == []


def test_another_seed_gives_another_model(ready: Project) -> None:
    models = []
    for seed in (1, 2):
        ready.set({"seed": seed})
        call(train_stage1)
        models.append(Path("models/stage1/model.safetensors").read_bytes())
    assert models[0] != models[1]


@pytest.fixture
def trained(ready: Project) -> Project:
    """A folder in which the training stages have run."""
    for stage in (train_stage1, train_stage2, train_baselines):
        call(stage)
    return ready


def test_figures_stand_beside_their_intervals_and_those_of_baselines(trained: Project) -> None:
    call(evaluate)
    metrics = read("metrics/evaluate.json")
    assert list(metrics) == ["device", "precision", "val", "test", "baselines"]
    figures = ["accuracy", "macro_f1", "weighted_f1", "precision_macro", "recall_macro"]
    for part in ("val", "test"):
        assert list(metrics[part]["interval"]) == figures
    assert list(metrics["baselines"]) == [
        "majority", "text_only", "image_only", "logistic_regression"
    ]  # fmt: skip
    assert (
        metrics["test"]["calibration"]["temperature"]
        == (read("models/stage2/config.json")["info"]["temperature"])
    )
    assert len(rows("data/evaluation/test.csv")) == len(rows("plots/confusion.csv")) == TEST
    assert {row["temperature"] for row in rows("plots/reliability.csv")} == {"before", "after"}
    assert float(rows("plots/risk_coverage.csv")[-1]["coverage"]) == 1
    assert Path("plots/confusion.png").stat().st_size > 0


def test_slices_twins_and_the_oracle_are_those_of_the_test_part(
    trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    first = TRAIN + VAL
    write_duplicates(Path("data/duplicates.csv"), [(0, first), (1, first + 1)])
    labels = [f"{first + place},neutral,{LABELS[1 + place % 2]}" for place in range(TEST)]
    header = "guid,text_label,image_label"
    write_text(Path("data/modality_labels.csv"), "\n".join([header, *labels]) + "\n")
    call(evaluate)
    metrics = read("metrics/evaluate.json")["test"]
    # Nine samples are too few to score a slice; they are counted all the same.
    assert metrics["slices"] == {"scored": 0}
    assert {(row["slice"], row["value"], row["samples"]) for row in rows("data/evaluation/slices.csv")} == {
        ("text and image", "labels agree", "5"), ("text and image", "labels differ", "4"),
        ("near-duplicate", "yes", "2"), ("near-duplicate", "no", "7"),
        ("twin in train", "yes", "2"), ("twin in train", "no", "7"),
    }  # fmt: skip
    assert metrics["twins_in_train"]["text"]["samples"] == 2
    assert metrics["twins_in_train"]["text"]["without"]["accuracy"] == 1.0
    assert metrics["twins_in_train"]["image_file"] == {"samples": 0}
    assert metrics["oracle"]["text_or_image"]["accuracy"] == 1.0
    assert "slices: none has 20 samples" in capsys.readouterr().out


def test_a_text_that_is_gone_is_named(trained: Project) -> None:
    Path("t.txt").unlink()
    with pytest.raises(UserError, match=r"^t\.txt: No such file or directory: .* guid 69: "):
        call(evaluate)


@pytest.mark.parametrize("finetune", [True, False])
def test_text_alone_and_image_alone_go_through_stage_2_if_asked_for(
    trained: Project, monkeypatch: pytest.MonkeyPatch, finetune: bool
) -> None:
    modes = []

    def stage2(start: Any, *arguments: Any, **more: Any) -> Any:
        modes.append(start.config.input_mode)
        return original(start, *arguments, **more)

    original = trial.train_stage2
    monkeypatch.setattr(trial, "train_stage2", stage2)
    trained.set({"baselines.finetune": finetune})
    call(train_baselines)
    assert modes == (["text_only", "image_only"] if finetune else [])


def test_the_bins_are_those_of_the_params(trained: Project) -> None:
    trained.set({"evaluate.bins": 1})
    call(evaluate)
    found = rows("plots/reliability.csv")
    assert [(row["low"], row["high"], row["samples"]) for row in found] == [
        ("0.000000", "1.000000", str(TEST))
    ] * 2


def test_a_lower_level_gives_narrower_intervals(trained: Project) -> None:
    # One wrong label, so that there is something to resample.
    splits = Path("data/splits.csv")
    text = splits.read_text(encoding="utf-8")
    write_text(splits, text.replace(",positive,test", ",negative,test", 1))
    widths = []
    for level in (0.5, 0.95):
        trained.set({"interval.level": level})
        call(evaluate)
        interval = read("metrics/evaluate.json")["test"]["interval"]["accuracy"]
        widths.append(interval["high"] - interval["low"])
    assert 0 < widths[0] < widths[1]


def set_temperature(value: float) -> None:
    config = read("models/stage2/config.json")
    config["info"]["temperature"] = value
    write_json(Path("models/stage2/config.json"), config)


def test_uncertain_rows_are_marked_and_submitted_all_the_same(trained: Project) -> None:
    # The one fitted on a few easy samples leaves no doubt.
    set_temperature(1.0)
    call(infer)
    plain = rows("data/predictions/predictions.csv")
    submission = Path("data/predictions/submission.txt").read_bytes()
    assert {row["uncertain"] for row in plain} == {"false"}
    trained.set({"infer.min_confidence": 1.0})
    call(infer)
    marked = rows("data/predictions/predictions.csv")
    assert {row["uncertain"] for row in marked} == {"true"}
    assert [{**row, "uncertain": "false"} for row in marked] == plain
    assert Path("data/predictions/submission.txt").read_bytes() == submission


def test_probabilities_have_the_temperature_of_the_checkpoint(trained: Project) -> None:
    set_temperature(1.0)
    call(infer)
    sharp = [float(row["confidence"]) for row in rows("data/predictions/predictions.csv")]
    set_temperature(2.0)
    call(infer)
    soft = [float(row["confidence"]) for row in rows("data/predictions/predictions.csv")]
    assert all(low < high for low, high in zip(soft, sharp, strict=True))


def test_rows_that_lack_an_input_are_predicted_in_their_place_and_flagged(trained: Project) -> None:
    call(infer)
    whole = rows("data/predictions/predictions.csv")
    assert {row["missing"] for row in whole} == {""}
    first = TRAIN + VAL + TEST
    write_manifest(Path("data/manifest.csv"), first + PREDICT, {first: "image", first + 2: "text"})
    splits = Path("data/splits.csv")
    lines = splits.read_text(encoding="utf-8").splitlines()
    lines.insert(-2, "../x,,no_input,../x")
    write_text(splits, "\n".join(lines) + "\n")
    call(infer)
    found = rows("data/predictions/predictions.csv")
    assert [(row["guid"], row["missing"]) for row in found] == [
        (str(first), "image"),
        (str(first + 1), ""),
        ("../x", "image+text"),
        (str(first + 2), "text"),
        (str(first + 3), ""),
    ]
    assert [row["guid"] for row in rows("data/predictions/submission.txt")] == [
        row["guid"] for row in found
    ]
    for row, same in ((found[1], whole[1]), (found[4], whole[3])):
        assert (row["guid"], row["tag"]) == (same["guid"], same["tag"])
        # The rows that share a batch decide the last digit.
        assert float(row["confidence"]) == pytest.approx(float(same["confidence"]), abs=1e-5)
    assert float(found[0]["image_contribution"]) == float(found[3]["text_contribution"]) == 0
    assert found[0]["text_contribution"] != whole[0]["text_contribution"]
    assert {found[2][f"p_{label}"] for label in LABELS} == {"0.333333"}


@pytest.mark.parametrize(
    ("resplit", "method", "split_seeds"),
    [(True, "corrected resampled t-test", ["42", "43"]), (False, "paired stratified", ["", ""])],
)
def test_variants_are_compared_over_splits_or_over_samples(
    ready: Project, resplit: bool, method: str, split_seeds: list[str]
) -> None:
    ready.set(
        {
            "stage1.epochs": 2,
            "ablate.repeats": 2,
            "ablate.resplit": resplit,
            "ablate.modes": ["multimodal", "text_only"],
            "ablate.fusions": ["gated"],
        }
    )
    call(ablate)
    found = read("metrics/ablate.json")
    assert list(found) == ["multimodal", "text_only", "gated"]
    for name in ("text_only", "gated"):
        difference = found[name]["minus_multimodal"]
        assert difference["method"].startswith(method)
        assert difference["accuracy"]["pairs"] == 2
        assert set(difference["macro_f1"]) == {
            "mean", "standard_error", "low", "high", "p_value", "p_holm", "wins", "pairs"
        }  # fmt: skip
    runs = rows("plots/ablate_runs.csv")
    assert [row["seed"] for row in runs] == ["42", "43"] * 3
    assert [row["split_seed"] for row in runs] == split_seeds * 3
    classes = rows("data/ablation/classes.csv")
    assert [row["label"] for row in classes] == [label for label in LABELS for _ in range(2)] * 3
    samples = rows("data/ablation/samples.csv")
    tested = sum(int(row["tested"]) for row in samples)
    assert tested == sum(int(row["test_samples"]) for row in runs[:2])
    assert found["text_only"]["left_out"]["samples"] == len(samples)
    assert Path("plots/ablate.png").stat().st_size > 0


def test_without_a_test_part_no_variant_is_trained(
    ready: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    write_splits(Path("data/splits.csv"), {"train": TRAIN, "val": VAL})
    # There are no features to train on: it would fail if it tried.
    shutil.rmtree("data/features")
    call(ablate)
    note = "test_size is 0: there is nothing to compare on"
    assert read("metrics/ablate.json") == {"note": note}
    assert capsys.readouterr().out == f"{note}\n"


def write_folds(count: int) -> None:
    """Folds whose test parts share out the labelled samples; the first is that of `data/splits.csv`."""
    labelled = rows("data/splits.csv")[: TRAIN + VAL + TEST]
    lines = ["guid,fold,split"]
    for fold in range(count):
        for place, row in enumerate(labelled):
            part = {fold: "test", (fold + 1) % count: "val"}.get(place // 3 % count, "train")
            lines.append(f"{row['guid']},{fold},{row['split'] if fold == 0 else part}")
    write_text(Path("data/folds.csv"), "\n".join(lines) + "\n")


def test_the_recipe_is_trained_on_every_fold_and_the_first_is_that_of_the_pipeline(
    ready: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    ready.set({"stage1.epochs": 3})
    write_folds(3)
    for stage in (train_stage1, train_stage2, train_baselines, evaluate, cross_validate):
        call(stage)
    found = read("metrics/folds.json")
    assert list(found["by_fold"]) == ["0", "1", "2"]
    own = read("metrics/evaluate.json")["test"]
    for score in ("accuracy", "macro_f1", "weighted_f1"):
        assert found["by_fold"]["0"][score] == own[score]
    predicted = rows("data/cross_validation/predictions.csv")
    assert [row["fold"] for row in predicted] == ["0"] * TEST + ["1"] * 27 + ["2"] * 24
    one_by_one = rows("data/evaluation/test.csv")
    for first, second in zip(predicted, one_by_one, strict=False):
        assert (first["guid"], first["predicted"]) == (second["guid"], second["predicted"])
        assert float(first["p_negative"]) == pytest.approx(float(second["p_negative"]), abs=1e-4)
    assert found["pooled"]["samples"] == len({row["guid"] for row in predicted})
    table = rows("plots/folds.csv")
    assert [row["test_samples"] for row in table] == ["9", "27", "24"]
    assert "3 folds, " in capsys.readouterr().out


def test_frozen_folds_are_trained_in_stage_1_alone(
    ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.set({"stage1.epochs": 1, "cross_validate.finetune": False, "seed": 7})
    write_folds(3)
    seeds: list[int] = []

    def recorded(recipe: Any, *more: Any, seed: int, **named: Any) -> Any:
        assert recipe.stage2 is None
        seeds.append(seed)
        return trial.run_trial(recipe, *more, seed=seed, **named)

    monkeypatch.setattr(variants, "run_trial", recorded)
    call(cross_validate)
    assert seeds == [7, 8, 9]


def test_with_one_split_there_are_no_folds_to_train_on(
    ready: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text(Path("data/folds.csv"), "guid,fold,split\n")
    # It would fail if it tried to train.
    shutil.rmtree("data/features")
    call(cross_validate)
    note = "one split: there are no folds to train on (split.folds, split.file)"
    assert read("metrics/folds.json") == {"note": note}
    assert capsys.readouterr().out == f"{note}\n"
    assert rows("plots/folds.csv") == rows("data/cross_validation/predictions.csv") == []


@pytest.mark.parametrize(
    ("stage", "key", "value", "allowed"),
    [
        (infer, "infer.min_confidence", -0.1, "greater than or equal to 0"),
        (infer, "infer.min_confidence", 1.5, "less than or equal to 1"),
        (infer, "infer.min_confidence", "0.5", "a valid number"),
        (train_baselines, "baselines.finetune", "no", "a valid boolean"),
        (train_baselines, "baselines.finetune", 1, "a valid boolean"),
        (evaluate, "evaluate.bins", 0, "greater than or equal to 1"),
        (evaluate, "evaluate.bins", 1.5, "a valid integer"),
        (evaluate, "interval.level", 0, "greater than 0"),
        (evaluate, "interval.level", 1.0, "less than 1"),
        (evaluate, "interval.level", 95, "less than 1"),
        (evaluate, "interval.resamples", 99, "greater than or equal to 100"),
        (ablate, "interval.level", -0.5, "greater than 0"),
        (ablate, "interval.resamples", 0, "greater than or equal to 100"),
        (ablate, "ablate.resplit", "yes", "a valid boolean"),
        (cross_validate, "cross_validate.finetune", "yes", "a valid boolean"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(
    workspace: Project, stage: Any, key: str, value: Any, allowed: str
) -> None:
    workspace.set({key: value})
    expected = (
        rf"^params\.yaml: {re.escape(key)}: {re.escape(repr(value))}: input should be {allowed}"
    )
    with pytest.raises(UserError, match=expected) as caught:
        call(stage)
    assert "\n" not in str(caught.value)
    assert not Path("metrics").exists()


def test_nothing_to_predict_leaves_a_header(ready: Project) -> None:
    write_splits(Path("data/splits.csv"), {"train": TRAIN, "val": VAL, "test": TEST})
    for stage in (train_stage1, train_stage2, infer):
        call(stage)
    assert Path("data/predictions/submission.txt").read_bytes() == b"guid,tag\n"


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (train_stage1, r"^data/features: no features here: run `dvc repro preprocess`"),
        (train_stage2, r"^data/features: no features here: run `dvc repro preprocess`"),
        (train_baselines, r"^data/features: no features here: run `dvc repro preprocess`"),
        (evaluate, r"models/stage2/config\.json: no such checkpoint file: run `dvc repro`"),
        (infer, r"models/stage2/config\.json: no such checkpoint file: run `dvc repro`"),
    ],
)
def test_a_stage_that_comes_too_early_says_what_to_run(
    workspace: Project, stage: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        call(stage)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "sum"}, r"^params\.yaml: fusion: 'sum': .*concat"),
        (
            {"fusion": "cross_attn", "input_mode": "text_only"},
            r"^params\.yaml: input_mode: 'text_only': fusion",
        ),
        ({"labels": ["negative", "positive"]}, r"^labels: .*'neutral'"),
        ({"labels": [*LABELS, "angry"]}, r"^loss\.class_weights: 'sqrt': no .* 'angry'"),
        (
            {"loss.class_weights": {"negative": 1.0}},
            r"^params\.yaml: loss\.class_weights: .*a weight",
        ),
    ],
)
def test_params_that_do_not_fit_are_named_and_nothing_is_written(
    ready: Project, changes: dict[str, Any], message: str
) -> None:
    ready.set(changes)
    with pytest.raises(UserError, match=message):
        call(train_stage1)
    assert not Path("models").exists()


def test_attention_without_token_states_says_what_to_set(ready: Project) -> None:
    for encoder in (IMAGE, TEXT):
        Path(f"data/features/{encoder}/tokens.npy").unlink()
    ready.set({"fusion": "cross_attn"})
    with pytest.raises(UserError, match=r"set backbone\.tokens=true"):
        call(train_stage1)


def test_a_sample_without_features_is_named(ready: Project) -> None:
    with Path("data/splits.csv").open("a", encoding="utf-8") as file:
        file.write("new,neutral,train,new\n")
    with pytest.raises(UserError, match=r"guid new has no features: run `dvc repro preprocess`"):
        call(train_stage1)


@pytest.mark.parametrize(("asked", "told"), [("auto", 0), ("fp32", 0), ("bf16", 1)])
def test_a_precision_that_the_processor_lacks_is_told_with_its_price(
    asked: str,
    told: int,
    ready: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    ready.set({"stage1.precision": asked, "stage2.precision": asked})
    for stage in (train_stage1, train_stage2, train_baselines, evaluate):
        call(stage)
    lines = capsys.readouterr().err.splitlines()
    for name in ("stage1", "stage2"):
        found = [
            line for line in lines if line.startswith(f"{name}.precision: bf16: this processor")
        ]
        assert len(found) == told
        assert all("nine times as long" in line for line in found)
    assert read("metrics/evaluate.json")["precision"] == ("bf16" if told else "fp32")


def test_no_training_rows_are_an_error(ready: Project) -> None:
    write_splits(Path("data/splits.csv"), {"val": VAL})
    with pytest.raises(UserError, match="no training rows"):
        call(train_stage1)


@pytest.mark.parametrize("encoder", [IMAGE, TEXT])
@pytest.mark.parametrize("part", ["train", "val"])
def test_training_stops_at_features_that_are_no_numbers(
    part: str, encoder: str, ready: Project
) -> None:
    path = ready.folder / "data" / "features" / encoder / "embeddings.npy"
    values = np.load(path)
    row = {"train": 3, "val": TRAIN + 1}[part]
    values[row] = np.nan
    np.save(path, values)
    with pytest.raises(UserError, match=f"^guid {row}: the features are NaN or infinite"):
        call(train_stage1)
    assert not Path("models/stage1/config.json").exists()
    assert not Path("plots/stage1.csv").exists()


@pytest.mark.parametrize("stage", [evaluate, infer, package])
def test_no_stage_takes_a_model_whose_weights_are_no_numbers(
    stage: Any, ready: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as were trained before that was checked: the first class would be the answer to all."""
    call(train_stage1)
    call(train_stage2)
    loaded = checkpoint.load(Path("models/stage2"))
    loaded.single().head[-1].bias.data[1] = float("nan")
    with monkeypatch.context() as unchecked:
        unchecked.setattr(checkpoint, "_check_finite", lambda *_: None)
        checkpoint.save(Path("models/stage2"), loaded.model, loaded.info)
    write_json(Path("metrics/evaluate.json"), {})
    write_json(Path("data/features/encoding.json"), {})
    with pytest.raises(UserError, match=r"models/stage2: the weight .* NaN or infinite"):
        call(stage)
    assert not Path("data/predictions").exists()
    assert not Path("models/bundle").exists()
