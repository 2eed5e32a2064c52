"""A bundle around a tiny CLIP model, with random weights instead of trained ones."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sentifuse.data.images import ViewSpec
from sentifuse.deploy import bundle
from sentifuse.encoders import registry
from sentifuse.features import encoding_record
from sentifuse.features.encoding import Setting
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier, ModelConfig
from tests.synthetic import LABELS
from tools.clip_folder import make_clip_folder

PARAMS: dict[str, Any] = {
    "seed": 1,
    "split": {"seed": 2},
    "stage1": {"epochs": 3},
    "stage2": {"epochs": 4},
    "interval": {"level": 0.9},
}
SAMPLES = {
    "train": {"negative": 10, "neutral": 20, "positive": 30},
    "val": {"negative": 1, "neutral": 2, "positive": 3},
    "test": {"negative": 4, "neutral": 5, "positive": 6},
}


def scores(value: float = 0.5) -> dict[str, Any]:
    """The `test` of `metrics/evaluate.json`, every score `value`, neutral's F1 half of it."""
    names = ("accuracy", "macro_f1", "weighted_f1", "precision_macro", "recall_macro")
    row = {"precision": value, "recall": value, "f1": value, "support": 5}
    trust = {"ece": 0.1, "log_loss": 1.0, "brier": 0.5}
    return {
        "samples": 15,
        **dict.fromkeys(names, value),
        "per_class": {label: {**row, "f1": value / (1 + (label == "neutral"))} for label in LABELS},
        "interval": {name: {"low": value - 0.1, "high": value + 0.2} for name in names},
        "calibration": {"temperature": 1.5, "before": trust, "after": trust, "aurc": 0.2},
    }


def make_bundle(
    folder: Path,
    *,
    views: int = 3,
    predict_views: str = "mean",
    precision: str = "fp32",
    device: str = "cpu",
    metrics: dict[str, Any] | None = None,
    **config: Any,
) -> Path:
    """Writes `folder/clip` and `folder/bundle`, and returns the latter; `config` is of the model."""
    clip = make_clip_folder(folder / "clip")
    backbone = registry.load(str(clip), None)
    setting = Setting(
        image_split=1,
        text_split=1,
        tokens=True,
        hidden_dtype="float16",
        image_batch=4,
        text_batch=2,
        views=ViewSpec(scale_min=0.4, flip=True, jitter=0.1),
        precision=precision,
        device=device,
    )
    values: dict[str, Any] = {
        "labels": list(LABELS),
        "fusion": "concat",
        "input_mode": "multimodal",
        "hidden_dims": [8],
        "dropout": 0.0,
        "image_dim": 16,
        "text_dim": 16,
        "image_token_dim": 32,
        "text_token_dim": 32,
        "text_tail": dict(backbone.text.tail(1).config),
        "image_tail": dict(backbone.image.tail(1).config),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier(ModelConfig(**{**values, **config})).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    checkpoint.save(folder / "trained", model, {"predict_views": predict_views, "temperature": 1.5})
    bundle.save(
        folder / "bundle",
        folder / "trained",
        bundle.Provenance(
            encoding=asdict(encoding_record.of(backbone, str(clip), None, setting, views)),
            data={"name": "pairs", "samples": SAMPLES},
            params=PARAMS,
            metrics={"test": scores()} if metrics is None else metrics,
        ),
        name="tiny",
        licence="mit",
    )
    return folder / "bundle"
