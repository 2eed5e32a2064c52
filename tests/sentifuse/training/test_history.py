from pathlib import Path

import pytest

from sentifuse.training import history
from sentifuse.training.loop import Fitted

ROW = {
    "epoch": 1,
    "train_loss": 1.23456789,
    "val_loss": 0.5,
    "val_accuracy": 2 / 3,
    "val_macro_f1": 0.25,
    "lr_head": 0.00001,
}


def test_a_row_an_epoch_with_six_digits(tmp_path: Path) -> None:
    path = tmp_path / "plots" / "stage1.csv"
    history.write(Fitted([ROW, {**ROW, "epoch": 12}], 1, {}, "fp32"), path)
    assert path.read_bytes() == (
        b"epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr_head\n"
        b"1,1.23457,0.5,0.666667,0.25,1e-05\n"
        b"12,1.23457,0.5,0.666667,0.25,1e-05\n"
    )


def test_without_validation_its_columns_are_absent(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if not key.startswith("val_")}
    history.write(Fitted([row], 1, {}, "fp32"), tmp_path / "stage1.csv")
    assert (tmp_path / "stage1.csv").read_bytes() == b"epoch,train_loss,lr_head\n1,1.23457,1e-05\n"


def test_without_epochs_there_is_a_header_for_the_plots(tmp_path: Path) -> None:
    history.write(Fitted([], 0, {}, "fp32"), tmp_path / "stage1.csv")
    assert (tmp_path / "stage1.csv").read_bytes() == (
        b"epoch,train_loss,val_loss,val_accuracy,val_macro_f1,lr_head\n"
    )


def test_a_checkpoint_notes_the_best_epoch_and_how_answers_come_about() -> None:
    val = {"accuracy": 0.5, "macro_f1": 0.4}
    members = [Fitted([ROW, ROW, ROW], 2, val, "fp32"), Fitted([ROW], 1, {}, "fp32")]
    assert history.info(members, "mean", 1.5) == {
        "training": [
            {"best_epoch": 2, "epochs": 3, "val": val, "precision": "fp32", "device": "cpu"},
            {"best_epoch": 1, "epochs": 1, "val": {}, "precision": "fp32", "device": "cpu"},
        ],
        "predict_views": "mean",
        "temperature": 1.5,
    }


def test_without_a_fit_the_temperature_changes_nothing() -> None:
    assert history.info([Fitted([ROW], 1, {}, "fp32")], "plain")["temperature"] == 1.0


@pytest.mark.parametrize(
    ("row", "note"),
    [
        (ROW, "loss 1.235, val macro-F1 0.250"),
        ({"epoch": 1, "train_loss": 0.5, "lr_head": 0.1}, "loss 0.500"),
    ],
)
def test_progress_shows_the_loss_and_the_score_of_an_epoch(
    row: dict[str, float], note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with history.shown("stage 1", 3) as on_epoch:
        on_epoch(row)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("stage 1: ")
    assert "1/3 [" in last
    assert last.endswith(f", {note}]")
