from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from sentifuse.deploy import bundle, model_card
from tests.bundles import make_bundle


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return bundle.verify(make_bundle(tmp_path_factory.mktemp("card")))


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
    assert "the last 1 of the text layers and the last 1 of the image layers were finetuned" in text
    assert "mean of 3 views" in text
    assert "cut at 77 tokens" in text
    for section in ("Use", "Data", "Training", "Metrics", "Limits"):
        assert f"\n## {section}\n" in text


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
    model = {**config["model"], "input_mode": mode, "text_tail": None, "image_tail": None}
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
