"""The model card of a bundle, in the hub's format: YAML for machines, Markdown for people.

All that it says comes from the bundle's config (Mitchell et al. 2019, arXiv:1810.03993, for the sections).
"""

from collections.abc import Mapping
from typing import Any

# Names of figures as people write them; the keys are those of `metrics/evaluate.json`.
FIGURES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "weighted_f1": "Weighted F1",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
}
# The hub has no task for pairs: a model that reads images only is filed under images.
_TASKS = {"image_only": "image-classification"}
_INPUTS = {
    "multimodal": "one image and one short text; either may be missing",
    "text_only": "one short text; an image is ignored",
    "image_only": "one image; a text is ignored",
}

_TEMPLATE = """\
---
{{ card_data }}
---

# {{ name }}

Says whether an image and a short text are {{ labels }}.

- **Reads** {{ inputs }}.
- **Encoders** `{{ encoding.backbone }}`{% if encoding.revision %} at revision \
`{{ encoding.revision }}`{% endif %}, of which {{ finetuned }}. Their frozen layers are not part of this \
folder: it knows their fingerprints and refuses others.
- **Fusion** `{{ model.fusion }}`{% if members > 1 %}, {{ members }} models whose probabilities are \
averaged{% endif %}.

## Use

```python
from sentifuse.predictor import Predictor
predictor = Predictor.load("this/folder")
print(predictor.predict(image="a.jpg", text="what a day"))
```

```
python -m sentifuse predict --model this/folder --image a.jpg --text "what a day"
```

Intended for research and teaching on pairs like those that it was trained on. Not for decisions about \
people, and not for texts or pictures of another kind, language or time without a new evaluation.

## Data

`{{ data.name }}`, split at random with seed {{ params.split.seed }}:

| part | {{ model.labels|join(" | ") }} |
|{{ " --- |" * (model.labels|length + 1) }}
{% for part, counts in data.samples.items() %}
| {{ part }} |{% for label in model.labels %} {{ counts.get(label, 0) }} |{% endfor %}

{% endfor %}

Texts lose URLs and @mentions, are lower-cased and cut at {{ encoding.max_tokens }} tokens. Images are seen \
as {% if info.predict_views == "mean" and encoding.views > 1 %}the mean of {{ encoding.views }} views, the \
centre crop and random ones{% else %}their centre crop{% endif %}, {{ encoding.image_spec.crop }} x \
{{ encoding.image_spec.crop }} pixels.

## Training

Two stages: fusion and head on frozen features, {{ params.stage1.epochs }} epochs; then \
{{ finetuned_with }}, {{ params.stage2.epochs }} epochs. {% if validated %}\
The epoch with the best macro-F1 on validation is kept, and a temperature of \
{{ number(info.temperature) }} is fitted there. {% endif %}\
Every hyperparameter stands in `config.json` under `params`.

## Metrics

{% if test %}
On the {{ test.samples }} samples of the test part, which training and the choice of the epoch did \
not see. Intervals: \
{{ level }} %, bootstrap over these samples; they do not tell how another split or seed would come out.

| figure | value | interval |
| --- | --- | --- |
{% for key, title in figures.items() %}
| {{ title }} | {{ number(test[key]) }} | {{ number(test.interval[key].low) }} to \
{{ number(test.interval[key].high) }} |
{% endfor %}

| class | precision | recall | F1 | samples |
| --- | --- | --- | --- | --- |
{% for label, row in test.per_class.items() %}
| {{ label }} | {{ number(row.precision) }} | {{ number(row.recall) }} | {{ number(row.f1) }} | \
{{ row.support }} |
{% endfor %}

{% if baselines %}
On the same samples:

| baseline | accuracy | macro-F1 |
| --- | --- | --- |
{% for baseline, row in baselines.items() %}
| {{ baseline.replace("_", " ") }} | {{ number(row.accuracy) }} | {{ number(row.macro_f1) }} |
{% endfor %}

{% endif %}
Calibration error (ECE) {{ number(test.calibration.after.ece) }} with the temperature, \
{{ number(test.calibration.before.ece) }} without.
{% else %}
None: there was no test part to measure on.
{% endif %}

## Limits

{% if test %}
- Weakest on {{ weakest }}: F1 {{ number(test.per_class[weakest].f1) }}, from \
{{ test.per_class[weakest].support }} samples.
{% endif %}
- It knows {{ model.labels|length }} classes and answers with one of them whatever it is shown; a low \
confidence is the only sign of an input that fits none.
- Irony, and text within pictures, are read no better than the encoders read them.
- Biases of the encoders and of the training data are in it and were not measured.
"""


def render(config: Mapping[str, Any], name: str, licence: str) -> str:
    """Writes the card.

    Args:
        config: of `bundle.save`.
        name: of the model.
        licence: its short name on the hub.

    Returns:
        Markdown with a YAML front matter.
    """
    from huggingface_hub import ModelCardData
    from jinja2 import Environment, StrictUndefined

    model, data = config["model"], config["data"]
    test = config["metrics"].get("test")
    finetuned = _finetuned(model)
    task = _TASKS.get(model["input_mode"], "text-classification")
    card_data = ModelCardData(
        license=licence,
        library_name="sentifuse",
        pipeline_tag=task,
        tags=["sentiment-analysis", *(["multimodal"] if model["input_mode"] == "multimodal" else [])],
        model_name=name,
        eval_results=_results(test, config["params"], data, task) if test else None,
    )  # fmt: skip
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text: str = environment.from_string(_TEMPLATE).render(
        **config,
        card_data=card_data.to_yaml(),
        name=name,
        labels=", ".join(model["labels"][:-1]) + " or " + model["labels"][-1],
        inputs=_INPUTS[model["input_mode"]],
        finetuned=f"{finetuned} were finetuned" if finetuned else "nothing was finetuned",
        validated="val" in data["samples"],
        finetuned_with=f"with {finetuned}" if finetuned else "without encoder layers",
        test=test,
        baselines=config["metrics"].get("baselines"),
        figures={key: title for key, title in FIGURES.items() if test and key in test["interval"]},
        level=f"{100 * config['params']['interval']['level']:g}",
        weakest=min(test["per_class"], key=lambda label: test["per_class"][label]["f1"])
        if test
        else None,
        number="{:.3f}".format,
    )
    return text.rstrip() + "\n"


def _finetuned(model: Mapping[str, Any]) -> str:
    tails = {"text": model["text_tail"], "image": model["image_tail"]}
    parts = [
        f"the last {tail['layers']} of the {name} layers" for name, tail in tails.items() if tail
    ]
    return " and ".join(parts)


def _results(
    test: Mapping[str, Any], params: Mapping[str, Any], data: Mapping[str, Any], task: str
) -> list[Any]:
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=task,
            dataset_type="image-text-pairs",
            dataset_name=data["name"],
            dataset_split="test",
            metric_type="f1" if "f1" in key else key.split("_")[0],
            metric_name=f"{title} on {test['samples']} test samples",
            metric_value=test[key],
            metric_args={
                "interval": {"level": params["interval"]["level"], **test["interval"][key]}
            },
        )
        for key, title in FIGURES.items()
        if key in test["interval"]
    ]
