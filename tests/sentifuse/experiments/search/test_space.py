"""Tests of spaces: what they draw from, and that a wrong one stops before any work."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentifuse.config import params
from sentifuse.errors import UserError
from sentifuse.experiments.search import space as spaces
from sentifuse.experiments.search.dimensions import Choices, Range
from sentifuse.experiments.search.space import Space
from tests.places import ROOT

PARAMS = ROOT / "params.yaml"


def read(folder: Path, text: str) -> Space:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return spaces.read(path, PARAMS)


def test_lists_are_choices_mappings_are_ranges_and_the_rest_is_fixed(tmp_path: Path) -> None:
    space = read(
        tmp_path,
        "fusion: [concat, gated]\n"
        "head: {hidden_dims: [[256, 64], []], dropout: 0.1}\n"
        "stage1.lr_head: {low: 1e-4, high: 1e-2, log: true}\n"
        "stage1.epochs: {low: 4, high: 20, step: 4}\n"
        "loss.logit_adjustment: {low: 0, high: 1}\n",
    )
    assert space.dimensions == {
        "fusion": Choices({"concat": "concat", "gated": "gated"}),
        "head.hidden_dims": Choices({"[256,64]": [256, 64], "[]": []}),
        "stage1.lr_head": Range(1e-4, 1e-2, log=True),
        "stage1.epochs": Range(4, 20, step=4),
        "loss.logit_adjustment": Range(0.0, 1.0),
    }
    assert space.fixed == {"head.dropout": 0.1}
    assert isinstance(space.dimensions["loss.logit_adjustment"].checked[0], float)
    assert (space.both_stages, space.trials) == (False, None)


def test_a_recipe_has_what_was_drawn_what_is_fixed_and_else_the_params(tmp_path: Path) -> None:
    text = "head.hidden_dims: [[256, 64], [9]]\nstage1: {epochs: 3, lr_head: {low: 0.0, high: 1}}\n"
    space = read(tmp_path, text)
    recipe = space.recipe({"head.hidden_dims": "[9]", "stage1.lr_head": 0.0123456})
    own = params.load(spaces.SearchParams, PARAMS)
    assert recipe.head.hidden_dims == (9,)
    assert (recipe.stage1.epochs, recipe.stage1.lr_head) == (3, 0.0123)
    assert (recipe.fusion, recipe.loss, recipe.stage2) == (own.fusion, own.loss, None)
    assert space.default == own.recipe(both_stages=False)


def test_a_key_of_stage_2_lets_both_stages_be_trained(tmp_path: Path) -> None:
    space = read(tmp_path, "fusion: [concat, film]\nstage2.epochs: 3\ntrials: 7\n")
    stage2 = space.recipe({"fusion": "film"}).stage2
    assert stage2 is not None
    assert stage2.epochs == 3
    assert (space.both_stages, space.trials) == (True, 7)


def test_a_number_is_rounded_but_stays_in_its_range() -> None:
    assert Range(0.0, 1.0).value(0.0012345) == 0.00123
    assert Range(0.10046, 1.0).value(0.10046) == 0.10046
    assert Range(1, 2000).value(1234) == 1234


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (
            "head.hidden_dims: [[256, 64], []]\nstage1.lr_head: {low: 1e-4, high: 1e-2, log: true}",
            {"head.hidden_dims": "[256,64]", "stage1.lr_head": 0.001},
        ),
        ("fusion: [concat, film]\nhead.dropout: 0.3", {"fusion": "concat"}),
        ("fusion: [gated, film]", None),
        ("fusion: [concat, film]\nhead.dropout: 0.2", None),
        ("stage1.lr_head: {low: 0.01, high: 0.1}", None),
        ("stage1.epochs: {low: 4, high: 16, step: 4}", None),
    ],
)
def test_it_is_known_whether_the_default_is_in_the_space(
    tmp_path: Path, text: str, drawn: dict[str, Any] | None
) -> None:
    assert read(tmp_path, text).default_drawn == drawn


def test_what_becomes_of_doubtful_labels_can_be_searched(tmp_path: Path) -> None:
    space = read(tmp_path, "loss.noise: [none, drop, weight]")
    assert space.recipe({"loss.noise": "drop"}).loss.noise == "drop"
    assert space.default.loss.noise == "none"


def test_a_default_that_is_a_mapping_is_in_no_list(tmp_path: Path) -> None:
    own = tmp_path / "params.yaml"
    weights = "{negative: 1.0, neutral: 2.0, positive: 1.0}"
    text = PARAMS.read_text(encoding="utf-8")
    own.write_text(text.replace("class_weights: sqrt", f"class_weights: {weights}"))
    (tmp_path / "space.yaml").write_text("loss.class_weights: [none, sqrt]\n")
    assert spaces.read(tmp_path / "space.yaml", own).default_drawn is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fusion: [concat, gatd]", "fusion: 'gatd': input should be 'concat', 'gated', "),
        ("fusions: [concat]", "fusions: no such key: did you mean fusion?"),
        ("ablate.repeats: [1, 2]", "ablate.repeats: it does not say how to train, so it is not "),
        ("qqq: [1, 2]", "qqq: no such key: expected a key of fusion, input_mode, head, loss, "),
        ("stage1.lr_heat: [0.1]", "stage1.lr_heat: no such key: did you mean stage1.lr_head"),
        ("augment.views: [1, 7]", "augment.views: another value needs other features or splits, "),
        ("backbone: {image: [a, b]}", "backbone.image: another value needs other features "),
        ("unfreeze_text_layers: [1]", "unfreeze_text_layers: another value needs other features "),
        ("split.seed: [1, 2]", "split.seed: another value needs other features or splits"),
        ("fusion: []", "fusion: an empty list: expected the choices"),
        ("fusion: [concat, concat]", "fusion: concat: stands twice"),
        ("head.hidden_dims: [256, 64]", "head.hidden_dims: 256: input should be a valid "),
        ("head.dropout: [0.1, 1.0]", "head.dropout: 1.0: input should be less than 1"),
        ("head.dropout: ['0.1']", "head.dropout: '0.1': input should be a valid number"),
        ("head.dropout: {low: 0, high: 1}", "head.dropout: 1.0: input should be less than 1"),
        ("head.dropout: {low: 0.5, high: 0.5}", "head.dropout: low 0.5, high 0.5: expected low below"),
        ("head.dropout: {low: 0.5}", "head.dropout: high: the key is missing"),
        ("head.dropout: {low: 0, high: 0.5, lag: true}", "head.dropout: lag: unknown key"),
        ("head.dropout: {low: a, high: 0.5}", "head.dropout: low: 'a': input should be a valid "),
        ("head.dropout: {low: 0, high: .inf}", "head.dropout: high: inf: input should be "),
        ("head.dropout: {low: 0.0, high: 0.5, log: true}", "head.dropout: low 0.0: a logarithmic "),
        ("head.dropout: {low: 0, high: 0.5, step: 0.2}", "head.dropout: step 0.2: expected to lead "),
        ("head.dropout: {low: 0, high: 0.5, step: -1}", "head.dropout: step -1: expected to lead "),
        ("stage1.lr_head: {low: 0.1, high: 1, log: true, step: 0.1}", "stage1.lr_head: log and step:"),
        ("stage1.epochs: {low: 1.5, high: 9}", "stage1.epochs: 1.5: input should be a valid integer"),
        ("fusion: {low: 0, high: 1}", "fusion: {'low': 0, 'high': 1}: not a number, so it needs a list"),
        ("stage2.restart_head: {low: 0, high: 1}", "stage2.restart_head: {'low': 0, 'high': 1}: not a "),
        ("loss.class_weights: [sqrt, {neutral: 2}]", 'loss.class_weights: {"neutral":2}: a recipe cannot'),
        ("fusion: concat", "nothing to search: expected a key with a list or a range"),
        ("trials: 0\nfusion: [concat]", "trials: 0: expected a number, 1 or more"),
        ("trials: many\nfusion: [concat]", "trials: 'many': expected a number, 1 or more"),
        ("head.dropout: 2\nfusion: [concat]", "head.dropout: 2: input should be less than 1"),
        (
            "fusion: [concat, cross_attn]\ninput_mode: [multimodal, text_only]",
            "input_mode: 'text_only': fusion 'cross_attn' attends ",
        ),
        ("fusion: [concat", "not YAML: "),
    ],
)  # fmt: skip
def test_a_wrong_space_is_told_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UserError) as raised:
        read(tmp_path, text)
    message = str(raised.value)
    assert message.startswith(f"{tmp_path / 'space.yaml'}: {told}")
    assert "\n" not in message


def test_wrong_params_are_told_before_the_space(tmp_path: Path) -> None:
    own = tmp_path / "params.yaml"
    own.write_text(PARAMS.read_text(encoding="utf-8").replace("dropout: 0.3", "dropout: 3"))
    (tmp_path / "space.yaml").write_text("fusion: [concat, film]\n")
    with pytest.raises(UserError, match=r"params.yaml: head.dropout: 3: "):
        spaces.read(tmp_path / "space.yaml", own)


def test_a_space_is_checked_before_torch_or_optuna_is_imported(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("fusion: [concat, gatd]\n")
    code = (
        "import sys\n"
        "from sentifuse.cli.main import main\n"
        f"sys.argv = ['sentifuse', 'search', {str(tmp_path / 'space.yaml')!r}]\n"
        "try: main()\n"
        "except Exception as error: print(type(error).__name__, {'torch', 'optuna'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "UserError set()\n"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("search-*.yaml")), ids=lambda p: p.stem
)
def test_the_spaces_of_the_project_hold_the_default(path: Path) -> None:
    assert spaces.read(path, PARAMS).default_drawn is not None
