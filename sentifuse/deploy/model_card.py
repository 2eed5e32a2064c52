"""The model card of a bundle: YAML for the hub, Markdown for people.

Its sections follow Mitchell et al. 2019, arXiv:1810.03993.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentifuse.data.text import TextSpec
from sentifuse.runtime import templates

TEMPLATE = "model_card.md.j2"
LIBRARY = "sentifuse"
# The keys are those of `metrics/evaluate.json`, the values are the titles that people read.
FIGURES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "weighted_f1": "Weighted F1",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
}
_INPUTS = {
    "multimodal": "one image and one short text; either may be missing",
    "text_only": "one short text; an image is ignored",
    "image_only": "one image; a text is ignored",
}


def render(config: Mapping[str, Any], name: str, licence: str) -> str:
    """Writes the card: Markdown with a YAML front matter.

    `config` is what `bundle.save` writes, `licence` the short name on the hub.
    """

    model, encoders = config["model"], config["encoding"]["encoders"]
    inputs = _INPUTS[model["input_mode"]]
    if model["input_mode"] == "text_only" and any(each.get("ocr") for each in encoders):
        inputs = "one short text, and the text in its image if there is one"
    unread = {"text_only": "image", "image_only": "text"}.get(model["input_mode"])
    names = {each["key"]: each["name"] for each in encoders}
    finetuned = [
        f"{_last(each['tail']['layers'])} of `{names[each['key']]}` for {each['modality']}s"
        for each in model["encoders"]
        if each["tail"] and each["modality"] != unread
    ]
    return templates.load(Path(__file__).parent / TEMPLATE, html=False).render(
        **config,
        card_data=_metadata(config, name, licence),
        name=name,
        inputs=inputs,
        finetuned=" and ".join(finetuned),
        cleaning={
            each["key"]: TextSpec(**each["spec"]).words()
            for each in encoders
            if each["modality"] == "text"
        },
        figures=FIGURES,
    )


def _last(layers: int) -> str:
    return "the last layer" if layers == 1 else f"the last {layers} layers"


def _metadata(config: Mapping[str, Any], name: str, licence: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    mode, test = config["model"]["input_mode"], config["metrics"].get("test")
    level = config["params"]["interval"]["level"]
    # The hub has no task for pairs: a model that reads only images is filed under images.
    task = "image-classification" if mode == "image_only" else "text-classification"
    results = [
        EvalResult(
            task_type=task,
            dataset_type="image-text-pairs",
            dataset_name=config["data"]["name"],
            dataset_split="test",
            metric_type="f1" if "f1" in key else key.split("_")[0],
            metric_name=f"{title} on {test['samples']} test samples",
            metric_value=test[key],
            metric_args={"interval": {"level": level, **test["interval"][key]}},
        )
        for key, title in FIGURES.items()
        if test and key in test["interval"]
    ]
    data = ModelCardData(
        license=licence,
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=["sentiment-analysis", *(["multimodal"] if mode == "multimodal" else [])],
        model_name=name,
        eval_results=results or None,
    )
    return str(data.to_yaml())
