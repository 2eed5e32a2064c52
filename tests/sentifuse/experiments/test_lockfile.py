from typing import Any

import pytest

from sentifuse.experiments.lockfile import read, stale_outputs

LOCK = """\
schema: '2.0'
stages:
  demo:
    cmd: make
    params:
      params.yaml:
        demo.seed: 0
    outs:
    - {path: demo, hash: md5, md5: d0.dir}
  train:
    cmd: train
    deps:
    - {path: demo, hash: md5, md5: d0.dir}
    - {path: train.py, hash: md5, md5: c1}
    params:
      params.yaml:
        stage2:
          lr_clip: 5e-06
          note: no
          schedule:
        dims: []
    outs:
    - {path: model, hash: md5, md5: m1}
  evaluate:
    cmd: evaluate
    deps:
    - {path: model, hash: md5, md5: m1}
    outs:
    - {path: metrics/evaluate.json, hash: md5, md5: e1}
  ablate:
    cmd: ablate
    deps:
    - {path: demo, hash: md5, md5: d0.dir}
    params:
      params.yaml:
        seed: 1
    outs:
    - {path: metrics/ablate.json, hash: md5, md5: a1}
"""


def params(**changes: Any) -> dict[str, Any]:
    stage2 = {"lr_clip": 5e-6, "note": "no", "schedule": None}
    document = {"demo": {"seed": 0, "labelled": 9}, "stage2": stage2, "dims": [], "seed": 1}
    return {"params.yaml": document | changes}


def test_with_the_params_of_the_lock_nothing_is_stale() -> None:
    assert stale_outputs(read(LOCK), params(other=1)) == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seed": 2}, {"metrics/ablate.json"}),
        ({"dims": [8]}, {"model", "metrics/evaluate.json"}),
        ({"stage2": {"lr_clip": 1e-4}}, {"model", "metrics/evaluate.json"}),
        ({"demo": {"seed": 1}}, {"demo", "model", "metrics/evaluate.json", "metrics/ablate.json"}),
        ({"demo": {}}, {"demo", "model", "metrics/evaluate.json", "metrics/ablate.json"}),
    ],
)
def test_another_value_makes_a_stage_stale_and_those_after_it(
    changes: dict[str, Any], expected: set[str]
) -> None:
    assert stale_outputs(read(LOCK), params(**changes)) == expected


def test_a_stage_that_read_another_version_of_its_input_is_stale() -> None:
    # As `dvc exp run evaluate` leaves it: the model is new, ablate has not been run.
    stages = read(
        LOCK.replace("md5: d0.dir}\n    - {path: train.py", "md5: d1.dir}\n    - {path: train.py")
    )
    assert stale_outputs(stages, params()) == {"model", "metrics/evaluate.json"}


def test_numbers_and_words_are_read_as_dvc_does() -> None:
    section = read(LOCK)["train"]["params"]["params.yaml"]["stage2"]
    assert section == {"lr_clip": 5e-6, "note": "no", "schedule": None}


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n"])
def test_a_lock_without_stages_says_nothing(text: str) -> None:
    assert stale_outputs(read(text), params()) == set()
