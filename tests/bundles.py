"""A bundle around tiny encoders, with random weights instead of trained ones."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from sentifuse.data.images import ViewSpec
from sentifuse.deploy import bundle
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.features import encoding_record, selection
from sentifuse.features.encoding import Setting
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.schema import EncoderMeta
from sentifuse.features.selection import Wanted
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.models.ensemble import Ensemble
from tests.synthetic import LABELS
from tools.clip_folder import make_clip_folder

# The keys of the encoders.
IMAGE, TEXT = "image_clip", "text_clip"
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
    frozen: bool = False,
    more_texts: Sequence[str] = (),
    members: int = 1,
    encoders: tuple[str, str] | None = None,
    **config: Any,
) -> Path:
    """Writes `folder/bundle`, and `folder/clip` if no encoders are given, and returns the former.

    Args:
        folder: where.
        views: V, of each image.
        predict_views: which of them the model sees.
        precision: that the encoders compute in.
        device: that they are said to have computed on.
        metrics: what `evaluate` found.
        frozen: whether no layer is finetuned.
        more_texts: names of text encoders beside CLIP's.
        members: how many models vote.
        encoders: names of an image and a text encoder in place of the tiny CLIP.
        config: of the model.
    """
    image, text = encoders or [str(make_clip_folder(folder / "clip"))] * 2
    texts = [text, *more_texts]
    wanted = [Wanted("image", [image], [1]), Wanted("text", texts, [1] * len(texts))]
    backbone = selection.load(wanted, None)
    setting = Setting(
        hidden_dtype="float16",
        image_batch=4,
        text_batch=2,
        views=ViewSpec(scale_min=0.4, flip=True, jitter=0.1),
        device=device,
        numerics="native",
    )
    values: dict[str, Any] = {
        "labels": list(LABELS),
        "fusion": "concat",
        "input_mode": "multimodal",
        "hidden_dims": [8],
        "dropout": 0.0,
        "encoders": [
            replace(each, tail=None) if frozen else each for each in _metas(backbone, wanted)
        ],
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        several = [Classifier(ModelConfig(**{**values, **config})) for _ in range(members)]
        model = (several[0] if members == 1 else Ensemble(several)).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    checkpoint.save(folder / "trained", model, {"predict_views": predict_views, "temperature": 1.5})
    bundle.save(
        folder / "bundle",
        folder / "trained",
        bundle.Provenance(
            encoding=asdict(
                EncodingRecord(
                    selection.records(backbone, wanted, True, precision),
                    views,
                    setting,
                    encoding_record.versions(),
                )
            ),
            data={"name": "pairs", "samples": SAMPLES},
            params=PARAMS,
            metrics={"test": scores()} if metrics is None else metrics,
        ),
        name="tiny",
        licence="mit",
    )
    return folder / "bundle"


def _metas(backbone: Backbone, wanted: Sequence[Wanted]) -> list[EncoderMeta]:
    return [
        EncoderMeta(
            key,
            each.modality,
            backbone[key].embedding_dim,
            backbone[key].token_dim,
            dict(backbone[key].tail(1).config),
            backbone[key].fingerprint,
        )
        for each in wanted
        for key in registry.keys(each.names, each.modality)
    ]
