import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sentifuse.config.overrides import as_options
from sentifuse.errors import UserError
from tests.places import ROOT

PARAMS = ROOT / "params.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def test_nested_keys_are_joined_by_dots(recipe: Path) -> None:
    recipe.write_text("fusion: gated\nstage1:\n  epochs: 3\n  lr_head: 0.0001\n")
    assert as_options(recipe, PARAMS) == [
        "-S", "fusion=gated", "-S", "stage1.epochs=3", "-S", "stage1.lr_head=0.0001",
    ]  # fmt: skip


def test_lists_and_booleans_and_null_have_no_white_space(recipe: Path) -> None:
    recipe.write_text(
        "head: {hidden_dims: [8, 4]}\naugment: {flip: false}\nbackbone: {fingerprint: null}\n"
    )
    options = as_options(recipe, PARAMS)
    assert options[1::2] == [
        "head.hidden_dims=[8,4]",
        "augment.flip=false",
        "backbone.fingerprint=null",
    ]


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("data: {root: data/数据}", 'data.root="data/数据"'),
        ("data: {root: réal}", 'data.root="réal"'),
        ("data: {root: data/mine}", "data.root=data/mine"),
        ("labels: [坏, good]", 'labels=["坏","good"]'),
    ],
)
def test_letters_beyond_ascii_stand_in_quotes_as_dvc_takes_them(
    recipe: Path, text: str, option: str
) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    recipe.write_text(text, encoding="utf-8")
    assert as_options(recipe, PARAMS) == ["-S", option]
    # The parser that DVC uses reads back what stood in the recipe.
    [parsed] = OverridesParser.create().parse_overrides([option])
    key, value = next(iter(yaml.safe_load(text).items()))
    assert parsed.value() == (value["root"] if isinstance(value, dict) else value)
    assert key in parsed.key_or_group


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stage1: {epoch: 3}", "stage1.epoch: no such key"),
        ("- a list", "expected a mapping"),
        ("a: [", "not YAML"),
        ("data: {root: my data}", "data.root: 'my data': a shell would split it"),
    ],
)
def test_a_wrong_recipe_is_a_one_line_error(recipe: Path, text: str, complaint: str) -> None:
    recipe.write_text(text)
    with pytest.raises(UserError, match=complaint) as caught:
        as_options(recipe, PARAMS)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        as_options(tmp_path / "none.yaml", PARAMS)


@pytest.mark.parametrize(
    "file",
    # The others are spaces to search: tests/sentifuse/experiments/search/test_space.py.
    sorted(set((ROOT / "recipes").glob("*.yaml")) - set((ROOT / "recipes").glob("search-*"))),
    ids=lambda path: path.stem,
)
def test_every_recipe_in_the_repository_changes_known_keys_to_allowed_values(file: Path) -> None:
    from sentifuse.config import params
    from stages import ablate, preprocess, train_stage1

    document = yaml.safe_load(PARAMS.read_text())
    for option in as_options(file, PARAMS)[1::2]:
        key, _, value = option.partition("=")
        section = document
        *path, last = key.split(".")
        for part in path:
            section = section[part]
        number = re.fullmatch(r"[0-9.]+e-[0-9]+", value)  # which PyYAML takes for a text
        section[last] = float(value) if number else yaml.safe_load(value)
    for stage in (preprocess, train_stage1, ablate):
        wanted = {name: document[name] for name in stage.Params.__dataclass_fields__}
        params.parse(stage.Params, wanted, file.name)


def test_the_command_prints_the_options_and_fails_in_one_line() -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sentifuse", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    good = call("recipe", "recipes/course.yaml")
    assert good.returncode == 0
    assert good.stdout.startswith("-S fusion=concat ")
    bad = call("recipe", "recipes/none.yaml")
    assert bad.returncode == 1
    assert bad.stderr == "error: recipes/none.yaml: no such file\n"
