"""The audit of the demo data, with the built-in encoders: it finds the wrong labels that were planted."""

import csv
import json
from pathlib import Path

import pytest

from demo.generate import mislabelled
from sentifuse.features.engines import local
from stages import audit, demo_data, preprocess, split
from tests.pipeline.project import Project, call
from tests.serial_pool import SerialPool

SIZE = {"labelled": 300, "unlabelled": 1, "seed": 0}


def test_planted_labels_are_found_far_more_often_than_by_chance(
    workspace: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    workspace.set(
        {
            **{f"demo.{key}": value for key, value in SIZE.items()},
            "unfreeze_text_layers": 0,
            "backbone.tokens": False,
            "augment.views": 0,
        }
    )
    for stage in (demo_data, split, preprocess, audit):
        call(stage)
    with Path("data/label_audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    planted = mislabelled(**SIZE)
    chance = len(planted) / len(rows)
    doubted = {row["guid"] for row in rows if row["suggested"]}
    precision = len(planted & doubted) / len(doubted)
    recall = len(planted & doubted) / len(planted)
    # Of rows in random order `chance` are planted, and they have as large a share of the planted as of all.
    assert precision > 4 * chance, (precision, chance)
    assert recall > 4 * len(doubted) / len(rows), (recall, len(doubted))
    first = {row["guid"] for row in rows[: len(planted)]}
    assert len(planted & first) / len(first) > 5 * chance
    found = json.loads(Path("metrics/audit.json").read_text(encoding="utf-8"))
    assert found["wrong"]["share"] > chance, (
        "hard samples count as wrong labels, too: docs/label-audit.md"
    )
