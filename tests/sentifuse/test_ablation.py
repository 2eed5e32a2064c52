import json
import math
from pathlib import Path

import pandas as pd
import pytest

from sentifuse import ablation, params
from sentifuse.ablation import Run, Variant
from sentifuse.errors import UserError
from stages import ablate
from tests.closure import ROOT

MODES = ("multimodal", "text_only", "image_only")

RUNS = [
    Run("multimodal", 42, 0.8, 0.6),
    Run("multimodal", 43, 0.9, 0.8),
    Run("text_only", 42, 0.5, 0.25),
    Run("text_only", 43, 0.5, 0.35),
]


def setting(splits: Path) -> ablation.Setting:
    """The project's own params, with features that do not exist."""
    own = params.load(ablate.Params, ROOT / "params.yaml")
    return ablation.Setting(
        features=splits.parent / "features",
        splits=splits,
        labels=own.labels,
        head=own.head,
        loss=own.loss,
        image_views=own.image_views,
        stage1=own.stage1,
        stage2=own.stage2,
        finetune=False,
        resplit=None,
    )


def test_one_mode_alone_can_be_asked_for_and_a_repeated_one_counts_once() -> None:
    assert ablation.variants("film", ["multimodal", "multimodal"], []) == [
        Variant("multimodal", "film", "multimodal")
    ]


@pytest.mark.parametrize("fusion", ["concat", "gated", "film"])
def test_each_modality_is_left_out_in_turn(fusion: str) -> None:
    assert ablation.variants(fusion, MODES, []) == [
        Variant("multimodal", fusion, "multimodal"),
        Variant("text_only", fusion, "text_only"),
        Variant("image_only", fusion, "image_only"),
    ]


def test_a_fusion_that_attends_is_compared_with_unimodal_concat() -> None:
    assert [
        (each.fusion, each.input_mode) for each in ablation.variants("cross_attn", MODES, [])
    ] == [
        ("cross_attn", "multimodal"),
        ("concat", "text_only"),
        ("concat", "image_only"),
    ]


def test_other_fusions_follow_in_the_order_given_without_the_models_own() -> None:
    found = ablation.variants("gated", MODES, ["film", "gated", "concat"])[3:]
    assert found == [
        Variant("film", "film", "multimodal"),
        Variant("concat", "concat", "multimodal"),
    ]


def test_a_fusion_that_is_named_twice_is_trained_once() -> None:
    found = ablation.variants("concat", MODES, ["gated", "film", "gated"])
    assert [variant.name for variant in found[3:]] == ["gated", "film"]


def test_a_summary_has_the_mean_and_the_sample_standard_deviation() -> None:
    found = ablation.summary(RUNS)
    assert list(found) == ["multimodal", "text_only"]
    assert found["multimodal"]["runs"] == 2
    assert math.isclose(found["multimodal"]["accuracy"]["mean"], 0.85)
    assert math.isclose(found["multimodal"]["accuracy"]["sd"], 0.1 / math.sqrt(2))
    assert math.isclose(found["multimodal"]["macro_f1"]["mean"], 0.7)
    assert math.isclose(found["multimodal"]["macro_f1"]["sd"], 0.2 / math.sqrt(2))
    assert found["text_only"]["accuracy"] == {"mean": 0.5, "sd": 0.0}


def test_one_run_has_no_deviation() -> None:
    assert ablation.summary(RUNS[:1])["multimodal"]["macro_f1"] == {"mean": 0.6, "sd": 0.0}


def written(tmp_path: Path, runs: list[Run]) -> tuple[Path, Path, Path]:
    paths = tmp_path / "m.json", tmp_path / "bars.csv", tmp_path / "runs.csv"
    ablation.write(runs, *paths)
    return paths


def test_files_hold_the_summary_the_means_and_every_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics, bars, every = written(tmp_path, RUNS)
    assert json.loads(metrics.read_text(encoding="utf-8")) == ablation.summary(RUNS)
    assert bars.read_bytes() == (
        b"variant,accuracy,macro_f1\nmultimodal,0.850000,0.700000\ntext_only,0.500000,0.300000\n"
    )
    assert every.read_bytes() == (
        b"variant,seed,accuracy,macro_f1\n"
        b"multimodal,42,0.800000,0.600000\n"
        b"multimodal,43,0.900000,0.800000\n"
        b"text_only,42,0.500000,0.250000\n"
        b"text_only,43,0.500000,0.350000\n"
    )
    assert capsys.readouterr().out.splitlines() == [
        "  multimodal: accuracy 0.850 +- 0.071, macro_f1 0.700 +- 0.141 (2 runs)",
        "   text_only: accuracy 0.500 +- 0.000, macro_f1 0.300 +- 0.071 (2 runs)",
    ]


def test_without_runs_there_is_a_note_and_headers(tmp_path: Path) -> None:
    metrics, bars, every = written(tmp_path, [])
    assert json.loads(metrics.read_text(encoding="utf-8")) == {
        "note": "test_size is 0: there is nothing to compare on"
    }
    assert bars.read_bytes() == b"variant,accuracy,macro_f1\n"
    assert every.read_bytes() == b"variant,seed,accuracy,macro_f1\n"


def splits_file(tmp_path: Path, parts: list[str]) -> Path:
    rows = [(f"g{index}", "a", part, f"g{index}") for index, part in enumerate(parts)]
    path = tmp_path / "splits.csv"
    pd.DataFrame(rows, columns=["guid", "label", "split", "group"]).to_csv(path, index=False)
    return path


def test_without_a_test_part_nothing_is_trained(tmp_path: Path) -> None:
    # There are no features to train on: it would fail if it tried.
    path = splits_file(tmp_path, ["train", "val", "predict"])
    assert ablation.ablate(setting(path), ablation.variants("concat", MODES, []), [1, 2]) == []


def test_an_unknown_fusion_is_named_before_any_training(tmp_path: Path) -> None:
    path = splits_file(tmp_path, ["train", "test"])
    with pytest.raises(UserError, match=r"^ablate\.fusions: 'sum': not one of concat, "):
        ablation.ablate(setting(path), ablation.variants("concat", MODES, ["sum"]), [1])
