import copy
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sentifuse.deploy import bundle, model_card
from tests.bundles import make_bundle
from tools.encoder_folders import make_encoder_folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return bundle.verify(make_bundle(tmp_path_factory.mktemp("card")))


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """That of a bundle with two text encoders."""
    folder = tmp_path_factory.mktemp("several")
    bert = make_encoder_folder("bert", folder / "bert")
    return bundle.verify(make_bundle(folder, more_texts=[str(bert)]))


def test_the_hub_reads_its_metadata(config: dict[str, Any]) -> None:
    data = ModelCard(model_card.render(config, "tiny", "mit")).data
    assert (data.license, data.model_name) == ("mit", "tiny")
    assert data.pipeline_tag == "text-classification"
    assert data.tags == ["sentiment-analysis", "multimodal"]
    found = {result.metric_name: result for result in data.eval_results}
    assert len(found) == 5
    macro_f1 = found["Macro-F1 on 15 test samples"]
    assert (macro_f1.metric_type, macro_f1.metric_value) == ("f1", 0.5)
    assert (macro_f1.dataset_name, macro_f1.dataset_split) == ("pairs", "test")
    assert macro_f1.metric_args == {"interval": {"level": 0.9, "low": 0.4, "high": 0.7}}


def test_people_read_metrics_with_intervals_and_where_it_is_weak(config: dict[str, Any]) -> None:
    text = model_card.render(config, "tiny", "mit")
    assert "| Accuracy | 0.500 | 0.400 to 0.700 |\n| Macro-F1 |" in text
    assert "Intervals: 90 %" in text
    assert "| neutral | 0.500 | 0.500 | 0.250 | 5 |" in text
    assert "Weakest on neutral: F1 0.250" in text
    assert "| part | negative | neutral | positive |\n| --- | --- | --- | --- |\n" in text
    assert "| test | 4 | 5 | 6 |\n\n" in text
    assert "mean of 3 views" in text
    for section in ("Use", "Data", "Training", "Metrics", "Limits"):
        assert f"\n## {section}\n" in text


def names(config: dict[str, Any]) -> list[str]:
    """Of the encoders, images first."""
    return [each["name"] for each in config["encoding"]["encoders"]]


def test_each_encoder_is_named_with_what_it_reads_and_what_was_finetuned(
    several: dict[str, Any],
) -> None:
    text = model_card.render(several, "tiny", "mit")
    clip, _, bert = names(several)
    assert f"`{clip}` for images, `{clip}` for texts, `{bert}` for texts, of which " in text
    assert (
        f"the last layer of `{clip}` for images and the last layer of `{clip}` for texts and "
        f"the last layer of `{bert}` for texts were finetuned"
    ) in text
    deeper = copy.deepcopy(several)
    deeper["model"]["encoders"][2]["tail"]["layers"] = 3
    deeper["model"]["encoders"][0]["tail"] = None
    text = model_card.render(deeper, "tiny", "mit")
    assert (
        f"of which the last layer of `{clip}` for texts and the last 3 layers of `{bert}` for texts were"
    ) in text


def test_how_texts_are_cleaned_is_told_for_each_text_encoder(several: dict[str, Any]) -> None:
    clip, _, bert = names(several)
    spec = several["encoding"]["encoders"][2]["spec"]
    config = copy.deepcopy(several)
    config["encoding"]["encoders"][2]["spec"] = {
        **spec, "link": "HTTPURL", "mention": "@USER", "lower": False
    }  # fmt: skip
    text = model_card.render(config, "tiny", "mit")
    assert f"Texts for `{clip}`: links are removed, mentions are removed, lower case, " in text
    assert (
        f"Texts for `{bert}`: links become `HTTPURL`, mentions become `@USER`, case stays" in text
    )
    assert text.count("Texts for ") == 2


def test_the_size_of_images_is_told_for_each_image_encoder(config: dict[str, Any]) -> None:
    [name, _] = names(config)
    assert f"32 x 32 pixels for `{name}`.\n" in model_card.render(config, "tiny", "mit")
    more = copy.deepcopy(config)
    first = more["encoding"]["encoders"][0]
    spec = {**first["spec"], "crop": 48}
    more["encoding"]["encoders"].insert(1, {**first, "key": "image_b", "name": "b", "spec": spec})
    expected = f"32 x 32 pixels for `{name}`, 48 x 48 pixels for `b`.\n"
    assert expected in model_card.render(more, "tiny", "mit")


def test_without_a_test_part_there_are_no_metrics(config: dict[str, Any]) -> None:
    text = model_card.render({**config, "metrics": {"note": "nothing"}}, "tiny", "mit")
    assert ModelCard(text).data.eval_results is None
    assert "None: there was no test part" in text
    assert "Weakest" not in text


def test_without_validation_no_choice_is_told(config: dict[str, Any]) -> None:
    samples = {part: rows for part, rows in config["data"]["samples"].items() if part != "val"}
    data = {**config["data"], "samples": samples}
    assert "best macro-F1" in model_card.render(config, "tiny", "mit")
    assert "best macro-F1" not in model_card.render({**config, "data": data}, "tiny", "mit")


@pytest.mark.parametrize(
    ("mode", "task"),
    [("image_only", "image-classification"), ("text_only", "text-classification")],
)
def test_a_unimodal_model_is_not_called_multimodal(
    config: dict[str, Any], mode: str, task: str
) -> None:
    encoders = [{**each, "tail": None} for each in config["model"]["encoders"]]
    model = {**config["model"], "input_mode": mode, "encoders": encoders}
    text = model_card.render({**config, "model": model}, "tiny", "mit")
    data = ModelCard(text).data
    assert (data.pipeline_tag, data.tags) == (task, ["sentiment-analysis"])
    assert "nothing was finetuned" in text


def test_baselines_stand_beside_it(config: dict[str, Any]) -> None:
    baselines = {"text_only": {"accuracy": 0.25, "macro_f1": 0.125}}
    metrics = {**config["metrics"], "baselines": baselines}
    text = model_card.render({**config, "metrics": metrics}, "tiny", "mit")
    assert "| text only | 0.250 | 0.125 |" in text


def test_the_bundle_has_it_as_its_readme(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text == model_card.render(bundle.verify(folder), "tiny", "mit")
