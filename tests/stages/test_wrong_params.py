"""Every wrong value of `params.yaml` stops every stage that reads it, before anything slow, in one line."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import yaml

from sentifuse.config import yaml_file
from tests.pipeline.project import Project
from tests.places import ROOT

STAGES: dict[str, dict[str, Any]] = yaml_file.read(ROOT / "dvc.yaml")["stages"]
PARAMS = yaml_file.read(ROOT / "params.yaml")
COUNT = [-1, 1.5, "2", None, True]
# Quoted in the file; without quotes `1e-3` is a number.
RATE = [-0.1, "0.001", float("nan"), float("inf"), None]
FRACTION = [-0.1, 1.0, "0.1", float("nan")]
FLAG = [1, "no", None]

# Key -> values that are wrong for it.
WRONG: dict[str, list[Any]] = {
    "numerics": ["avx2", None, True],
    "seed": [*COUNT, 2**31],
    "labels": [[], ["one"], ["a", "a"], ["a", ""], "negative", [1, 2], None],
    "fusion": ["sum", "Concat", None, 3],
    "input_mode": ["text", "both", None],
    # A list has a number for each encoder of the file as it stands: one.
    "unfreeze_text_layers": [*COUNT, [], [3, 3], [-1]],
    "unfreeze_vision_layers": [*COUNT, [], [0, 1], [None]],
    "demo.labelled": [*COUNT, 29],
    "demo.unlabelled": COUNT,
    "demo.seed": COUNT,
    "data.root": ["", 3, None],
    "data.on_bad_sample": ["ignore", True, None],
    "data.columns.id": ["", 3],
    "data.columns.image": ["", 3, None],
    "data.columns.text": ["", 3, None],
    "data.columns.text_file": ["", 3],
    "data.columns.label": ["", 3],
    "data.columns.split": ["", 3],
    "data.columns.text_label": ["", 3],
    "data.columns.image_label": ["", 3],
    "split.seed": [*COUNT, 2**31],
    "split.val_size": [*FRACTION, 0.95],
    "split.test_size": [*FRACTION, 0.95],
    "split.group_duplicates": FLAG,
    "split.file": ["", 3, "mine.json", "splits/mine.txt", "splits/../a.json", "/splits/a.csv"],
    "split.folds": [*COUNT, 1, 2],
    "backbone.image": ["", 3, None, [], ["efficientnet-lite0", ""], [3]],
    "backbone.text": ["", 3, None, [], ["minilm-l6", ""], [None]],
    "backbone.fingerprint": ["", "f00", 3],
    "backbone.precision": ["float16", "FP32", 16, None, "bf16"],  # built-in encoders know fp32 only
    "backbone.tokens": FLAG,
    "backbone.ocr": FLAG,
    "backbone.hidden_dtype": ["bfloat16", None],
    "backbone.image_batch": [*COUNT, 0],
    "backbone.text_batch": [*COUNT, 0],
    "backbone.engine": ["spark", None],
    "ray.address": ["", "head", "ray://head:10001", 6379],
    "zero_shot.prompts.negative": [[], [""], "bad", [3], None],
    "zero_shot.prompts.neutral": [[], [""], "so so", [3], None],
    "zero_shot.prompts.positive": [[], [""], "good", [3], None],
    "augment.views": COUNT,
    "augment.scale_min": [0, -0.5, 1.1, "0.5"],
    "augment.flip": FLAG,
    "augment.jitter": FRACTION,
    "device": ["gpu", "cuda:0", None],
    "image_views.train": ["all", None],
    "image_views.predict": ["draw", None],
    "head.hidden_dims": [[0], [64, -1], [1.5], 64, None],
    "head.dropout": FRACTION,
    "loss.class_weights": ["equal", {"negative": -1.0}, {"negative": 1.0}, {"joy": 1.0}, None],
    "loss.label_smoothing": FRACTION,
    "loss.logit_adjustment": RATE,
    "loss.noise": ["remove", None, True, 0.5],
    "interval.level": [0, 1, 95, "0.95"],
    "interval.resamples": [*COUNT, 99],
    "baselines.finetune": FLAG,
    "audit.folds": [*COUNT, 0, 1],
    "evaluate.bins": [*COUNT, 0],
    "ablate.repeats": [*COUNT, 0],
    "ablate.resplit": FLAG,
    "ablate.finetune": FLAG,
    "ablate.modes": [["text"], ["multimodal", "both"], "multimodal"],
    "ablate.fusions": [["sum"], ["gated", "sum"], "gated"],
    "cross_validate.finetune": FLAG,
    "package.name": ["", None],
    "package.license": ["", None],
    "explain.cards": COUNT,
    "report.gallery": COUNT,
    "infer.min_confidence": [-0.1, 1.1, "0.5"],
    **{
        f"{stage}.{key}": values
        for stage in ("stage1", "stage2")
        for key, values in {
            "epochs": COUNT,
            "batch_size": [*COUNT, 0],
            "lr_head": RATE,
            "lr_attn": RATE,
            "weight_decay": RATE,
            "max_grad_norm": [*RATE[:3], 0],
            "schedule": ["step", None],
            "warmup": FRACTION,
            "early_stop_patience": COUNT,
            "precision": ["fp16", "Auto", None],
        }.items()
    },
    "stage2.members": [*COUNT, 0],
    "stage2.restart_head": FLAG,
    "stage2.lr_clip": RATE,
    "stage2.layer_decay": [0, 1.1, "0.9"],
    "stage2.encoder_dropout": FRACTION,
    "stage2.threads": [*COUNT, 0],
}
# These need the classes or another section beside them, which some stages that read the key do not.
CROSSED = {"loss.class_weights": {"train_stage1", "train_baselines", "ablate", "cross_validate"}}

# Runs a stage in one process, with one file of params after the other.
DRIVER = """
import importlib, json, sys
from pathlib import Path
from sentifuse.runtime.process import run_stage
stage = importlib.import_module(f"stages.{sys.argv[1]}")
for path in sorted(Path("wrong").iterdir()):
    Path("params.yaml").write_bytes(path.read_bytes())
    try:
        run_stage(stage.main, stage.Params)
        message = None
    except SystemExit as stopped:
        message = stopped.code
    except BaseException as error:
        message = repr(error)
    heavy = [name for name in ("torch", "pandas", "PIL", "sklearn") if name in sys.modules]
    print(json.dumps([path.name, message, heavy]))
"""


def params_of(stage: str) -> list[str]:
    """The keys of `params.yaml` that a stage reads."""
    return [entry for entry in STAGES[stage]["params"] if isinstance(entry, str)]


def leaves(document: dict[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key, value in document.items():
        own = leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
        found |= own
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, encoding="utf-8", check=False
    )  # fmt: skip


def test_every_key_has_a_wrong_value() -> None:
    assert set(WRONG) == leaves(PARAMS)
    read = {key for stage in STAGES for key in params_of(stage)}
    assert read == {key.split(".")[0] for key in WRONG}


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_value_stops_the_stage_before_it_imports_anything_slow(
    stage: str, workspace: Project
) -> None:
    (workspace.folder / "wrong").mkdir()
    plain = (ROOT / "params.yaml").read_bytes()
    tried = []
    for key, values in WRONG.items():
        if key.split(".")[0] not in params_of(stage):
            continue
        for value in values:
            crossed = key in CROSSED and isinstance(value, dict) and min(value.values()) > 0
            if crossed and stage not in CROSSED[key]:
                continue
            (workspace.folder / "params.yaml").write_bytes(plain)
            workspace.set({key: value})
            name = f"{len(tried):03}.yaml"
            (workspace.folder / "params.yaml").rename(workspace.folder / "wrong" / name)
            tried.append((name, key, value))
    assert tried
    done = run("-c", DRIVER, stage)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(tried)
    for (name, key, value), (file, message, heavy) in zip(tried, found, strict=True):
        assert file == name
        assert message is not None, (key, value)
        assert message.startswith(f"error: params.yaml: {key.split('.')[0]}"), (key, value, message)
        assert all(part in message for part in key.split(".")), (key, value, message)
        assert "\n" not in message, (key, value)
        assert heavy == [], (key, value)
    assert not (workspace.folder / "data").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_the_command_ends_with_status_1(stage: str, workspace: Project) -> None:
    key = next(key for key in WRONG if key.split(".")[0] == params_of(stage)[-1])
    workspace.set({key: WRONG[key][0]})
    done = run("-m", f"stages.{stage}")
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: params.yaml: {key}")


@pytest.mark.parametrize(
    ("stage", "changes", "told"),
    [
        ("train_stage1", {"fusion": "cross_attn", "input_mode": "text_only"}, "input_mode: 'text_only'"),
        ("split", {"split.val_size": 0.5, "split.test_size": 0.5}, "split: val_size 0.5 + test_size 0.5"),
        ("ablate", {"split.val_size": 0.5, "split.test_size": 0.5}, "split: val_size 0.5 + test_size 0.5"),
        ("split", {"split.file": "splits/a.csv", "split.folds": 5},
         "split: file 'splits/a.csv' and folds 5: choose one"),
        ("cross_validate", {"fusion": "cross_attn", "input_mode": "text_only"}, "input_mode: 'text_only'"),
        ("ablate", {"loss.class_weights": {"a": 1.0}}, "loss.class_weights: {'a': 1.0}: expected a weight"),
        ("train_stage1", {"loss.class_weights": {"a": 1.0}}, "loss.class_weights: {'a': 1.0}: expected a"),
        ("preprocess", {"backbone.text": ["a", "b"], "unfreeze_text_layers": [1, 2, 3]},
         "unfreeze_text_layers: [1, 2, 3]: expected one number, or one for each of a, b"),
        ("preprocess", {"backbone.image": ["a", "b", "c"], "unfreeze_vision_layers": [1, 2]},
         "unfreeze_vision_layers: [1, 2]: expected one number, or one for each of a, b, c"),
        ("preprocess", {"backbone.text": ["a", "minilm-l6"], "backbone.precision": "bf16"},
         "backbone: precision 'bf16': the encoder 'efficientnet-lite0' knows 'fp32' only"),
        ("preprocess",
         {"backbone.image": "b", "backbone.text": ["a", "minilm-l6"], "backbone.precision": "fp16"},
         "backbone: precision 'fp16': the encoder 'minilm-l6' knows 'fp32' only, which 'auto' gives"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_named(
    stage: str, changes: dict[str, Any], told: str, workspace: Project
) -> None:
    workspace.set(changes)
    done = run("-m", f"stages.{stage}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: params.yaml: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "section",
    [
        {"name": "bundled", "revision": None},
        {"name": "openai/clip-vit-base-patch32", "image": "a", "text": "b"},
        {"revision": "main", "image": "a", "text": "b"},
    ],
    ids=lambda section: "-".join(section),
)
def test_the_name_of_earlier_versions_is_told_what_to_write_now(
    section: dict[str, Any], workspace: Project
) -> None:
    path = workspace.folder / "params.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = {
        key: value for key, value in document["backbone"].items() if key not in ("image", "text")
    }
    document["backbone"] = {**section, **kept}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run("-m", "stages.preprocess")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "error: params.yaml: backbone: name and revision are gone: write backbone.image and "
        "backbone.text, each the name of an encoder, a folder, or a hub id with or without @revision "
        "(for CLIP: recipes/clip.yaml)\n"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone.text": ["minilm-l6"], "unfreeze_text_layers": [3]},
        {"backbone.text": ["minilm-l6", "./nowhere"], "unfreeze_text_layers": [3, 1]},
        {"backbone.image": ["./nowhere", "efficientnet-lite0"], "unfreeze_vision_layers": 0},
        {"backbone.image": "./a", "backbone.text": ["./b", "./c"], "backbone.precision": "bf16"},
    ],
)
def test_encoders_may_be_one_or_a_list_with_layers_for_all_or_for_each(
    changes: dict[str, Any], workspace: Project
) -> None:
    workspace.set(changes)
    done = run(
        "-c",
        "from sentifuse.config import params; from stages import preprocess; "
        "found = params.load(preprocess.Params); "
        "print(len(found.backbone.image), len(found.backbone.text))",
    )
    assert done.returncode == 0, done.stderr
    expected = [
        len(given) if isinstance(given, list) else 1
        for given in (changes.get(f"backbone.{key}") for key in ("image", "text"))
    ]
    assert done.stdout.split() == [str(count) for count in expected]


def test_sizes_that_leave_something_to_train_on_are_taken(workspace: Project) -> None:
    # 0.1 + 0.2 + ... is not exact.
    workspace.set({"split.val_size": 0.1, "split.test_size": 0.8999999})
    done = run("-m", "stages.split")
    assert "data.root: 'data/demo': no such folder" in done.stderr


def test_the_file_as_it_stands_is_not_wrong(workspace: Project) -> None:
    document = yaml.safe_load((workspace.folder / "params.yaml").read_text(encoding="utf-8"))
    (workspace.folder / "params.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run("-m", "stages.split")
    assert done.stderr == "error: data.root: 'data/demo': no such folder\n"
