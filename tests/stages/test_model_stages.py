"""Tests of the stages that train and apply a model, on made-up features."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from sentifuse.errors import UserError
from sentifuse.files import write_json, write_text
from stages import evaluate, infer, train_stage1, train_stage2
from tests.pipeline.project import LABELS, Project
from tests.synthetic import make_features, tail_weights

TRAIN, VAL, TEST, PREDICT = 60, 9, 9, 4
ARRAYS = (
    "image_embeddings", "text_embeddings", "text_offsets", "text_tokens", "text_hidden",
    "image_tokens", "image_hidden",
)  # fmt: skip


def write_features(folder: Path, count: int) -> None:
    """Easy features of `count` samples, classes in turn."""
    features = make_features([index % 3 for index in range(count)], noise=0.02)
    folder.mkdir(parents=True)
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(features, name))
    write_text(folder / "guids.txt", "".join(f"{guid}\n" for guid in features.guids))
    write_json(folder / "meta.json", vars(features.meta))
    for modality, config in (
        ("image", features.meta.image_tail),
        ("text", features.meta.text_tail),
    ):
        assert config is not None
        safetensors.torch.save_file(tail_weights(config), folder / f"{modality}_tail.safetensors")


def write_splits(path: Path, sizes: dict[str, int]) -> None:
    parts = [name for name, size in sizes.items() for _ in range(size)]
    rows = [
        f"{index},{'' if part == 'predict' else LABELS[index % 3]},{part},{index}"
        for index, part in enumerate(parts)
    ]
    write_text(path, "\n".join(["guid,label,split,group", *rows]) + "\n")


@pytest.fixture
def ready(workspace: Project) -> Project:
    """A folder in which `preprocess` has run."""
    sizes = {"train": TRAIN, "val": VAL, "test": TEST, "predict": PREDICT}
    write_features(workspace.folder / "data" / "features", sum(sizes.values()))
    write_splits(workspace.folder / "data" / "splits.csv", sizes)
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
        }
    )
    return workspace


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_both_stages_learn_what_is_easy(ready: Project, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in (train_stage1, train_stage2, evaluate, infer):
        stage.main()
    metrics = read("metrics/evaluate.json")
    assert metrics["val"]["samples"] == VAL
    assert metrics["test"]["samples"] == TEST
    assert metrics["val"]["accuracy"] == metrics["test"]["accuracy"] == 1.0
    out = capsys.readouterr().out
    assert "test: accuracy 1.000, macro-F1 1.000 (9 samples)\n" in out
    assert "data/predictions/submission.txt: 4 rows\n" in out
    first = TRAIN + VAL + TEST
    assert rows("data/predictions/submission.txt") == [
        {"guid": str(first + index), "tag": LABELS[(first + index) % 3]} for index in range(PREDICT)
    ]


def test_the_order_of_the_labels_is_that_of_the_params(ready: Project) -> None:
    ready.set({"labels": ["positive", "negative", "neutral"]})
    for stage in (train_stage1, train_stage2, evaluate, infer):
        stage.main()
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
        "p_positive", "p_negative", "p_neutral"
    ]  # fmt: skip


def test_stage_1_leaves_the_encoders_out_and_stage_2_takes_them_in(ready: Project) -> None:
    train_stage1.main()
    train_stage2.main()
    weights = {
        stage: safetensors.torch.load_file(f"models/{stage}/model.safetensors")
        for stage in ("stage1", "stage2")
    }
    assert not [name for name in weights["stage1"] if "tail" in name]
    assert [name for name in weights["stage2"] if name.startswith("text_tail.")]
    assert [name for name in weights["stage2"] if name.startswith("image_tail.")]
    assert set(weights["stage1"]) < set(weights["stage2"])


def test_a_run_can_be_repeated_to_the_last_bit(ready: Project) -> None:
    found = []
    for _ in range(2):
        for stage in (train_stage1, train_stage2, infer):
            stage.main()
        paths = [path for name in ("models", "plots", "data/predictions") for path in sorted(
            Path(name).rglob("*")) if path.is_file()]  # fmt: skip
        found.append({path: path.read_bytes() for path in paths})
    assert len(found[0]) == 8
    assert found[0] == found[1]


def test_another_seed_gives_another_model(ready: Project) -> None:
    models = []
    for seed in (1, 2):
        ready.set({"seed": seed})
        train_stage1.main()
        models.append(Path("models/stage1/model.safetensors").read_bytes())
    assert models[0] != models[1]


def test_nothing_to_predict_leaves_a_header(ready: Project) -> None:
    write_splits(Path("data/splits.csv"), {"train": TRAIN, "val": VAL, "test": TEST})
    for stage in (train_stage1, train_stage2, infer):
        stage.main()
    assert Path("data/predictions/submission.txt").read_bytes() == b"guid,tag\n"


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (train_stage1, r"^data/features: no features here: run `dvc repro preprocess`"),
        (train_stage2, r"^data/features: no features here: run `dvc repro preprocess`"),
        (evaluate, r"models/stage2/config\.json: no such checkpoint file: run `dvc repro`"),
        (infer, r"models/stage2/config\.json: no such checkpoint file: run `dvc repro`"),
    ],
)
def test_a_stage_that_comes_too_early_says_what_to_run(
    workspace: Project, stage: Any, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        stage.main()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "sum"}, r"^fusion: 'sum': .*concat"),
        ({"fusion": "cross_attn", "input_mode": "text_only"}, r"^input_mode: 'text_only': fusion"),
        ({"labels": ["negative", "positive"]}, r"^labels: .*'neutral'"),
        ({"labels": [*LABELS, "angry"]}, r"^loss\.class_weights: 'sqrt': no .* 'angry'"),
        ({"loss.class_weights": {"negative": 1.0}}, r"^loss\.class_weights: .*expected a weight"),
    ],
)
def test_params_that_do_not_fit_are_named_and_nothing_is_written(
    ready: Project, changes: dict[str, Any], message: str
) -> None:
    ready.set(changes)
    with pytest.raises(UserError, match=message):
        train_stage1.main()
    assert not Path("models").exists()


def test_attention_without_token_states_says_what_to_set(ready: Project) -> None:
    for name in ("text_tokens", "image_tokens"):
        Path(f"data/features/{name}.npy").unlink()
    ready.set({"fusion": "cross_attn"})
    with pytest.raises(UserError, match=r"set backbone\.tokens=true"):
        train_stage1.main()


def test_a_sample_without_features_is_named(ready: Project) -> None:
    with Path("data/splits.csv").open("a", encoding="utf-8") as file:
        file.write("new,neutral,train,new\n")
    with pytest.raises(UserError, match=r"guid new has no features: run `dvc repro preprocess`"):
        train_stage1.main()


def test_no_training_rows_are_an_error(ready: Project) -> None:
    write_splits(Path("data/splits.csv"), {"val": VAL})
    with pytest.raises(UserError, match="no training rows"):
        train_stage1.main()
