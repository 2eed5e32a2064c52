"""The model card of a bundle: YAML for the hub, Markdown for people.

Its sections follow Mitchell et al. 2019, arXiv:1810.03993.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TEMPLATE = "model_card.md.j2"
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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    model = config["model"]
    tails = {"text": model["text_tail"], "image": model["image_tail"]}
    finetuned = [
        f"the last {tail['layers']} of the {key} layers" for key, tail in tails.items() if tail
    ]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(TEMPLATE).render(
        **config,
        card_data=_metadata(config, name, licence),
        name=name,
        inputs=_INPUTS[model["input_mode"]],
        finetuned=" and ".join(finetuned),
        figures=FIGURES,
    )


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
        library_name="sentifuse",
        pipeline_tag=task,
        tags=["sentiment-analysis", *(["multimodal"] if mode == "multimodal" else [])],
        model_name=name,
        eval_results=results or None,
    )
    return str(data.to_yaml())
