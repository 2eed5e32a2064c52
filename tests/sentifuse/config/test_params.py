import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentifuse.config import params, recipe
from sentifuse.errors import UserError
from stages import ablate, demo_data, preprocess, split, train_stage1, train_stage2
from tests.places import ROOT

PARAMS_FILE = ROOT / "params.yaml"
DELETED = object()
STAGES = {
    "demo": demo_data,
    "data": split,
    "split": split,
    "backbone": preprocess,
    "ray": preprocess,
    "augment": preprocess,
    "unfreeze_text_layers": preprocess,
    "stage2": train_stage2,
    "ablate": ablate,
}


def kind_of(key: str) -> type[Any]:
    """The params of a stage that reads `key`; stage 1 reads what is not in the table."""
    kind: type[Any] = STAGES.get(key.split(".")[0], train_stage1).Params
    return kind


def load_with(tmp_path: Path, key: str, value: Any) -> Any:
    """What the stage that reads `key` makes of the project's params with that one changed."""
    document = copy.deepcopy(yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")))
    section = document
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    if value is DELETED:
        del section[last]
    else:
        section[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return params.load(kind_of(key), path)


def message(tmp_path: Path, key: str, value: Any) -> str:
    with pytest.raises(UserError) as error:
        load_with(tmp_path, key, value)
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith(f"{tmp_path / 'params.yaml'}: ")
    return text.removeprefix(f"{tmp_path / 'params.yaml'}: ")


@pytest.mark.parametrize(
    "stage", [demo_data, split, preprocess, train_stage1, train_stage2, ablate]
)
def test_the_projects_own_params_load(stage: Any) -> None:
    assert params.load(stage.Params, PARAMS_FILE)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("fusion", "sum", "'concat', 'gated', 'film', 'film_concat' or 'cross_attn'"),
        ("input_mode", "text", "'multimodal', 'text_only' or 'image_only'"),
        ("image_views.predict", "draw", "'plain' or 'mean'"),
        ("stage1.schedule", "step", "'plateau' or 'cosine'"),
        ("stage2.precision", "fp16", "'fp32' or 'bf16'"),
        ("backbone.hidden_dtype", "bfloat16", "'float16' or 'float32'"),
        ("split.group_duplicates", "yes", "boolean"),
        ("stage1.lr_head", -0.001, "greater than or equal to 0"),
        ("stage2.lr_clip", -1, "greater than or equal to 0"),
        ("stage1.weight_decay", -0.1, "greater than or equal to 0"),
        ("stage1.max_grad_norm", 0.0, "greater than 0"),
        ("stage1.epochs", -1, "greater than or equal to 0"),
        ("stage1.batch_size", 0, "greater than or equal to 1"),
        ("seed", -1, "greater than or equal to 0"),
        ("head.dropout", 1.0, "less than 1"),
        ("split.val_size", -0.1, "greater than or equal to 0"),
        ("split.test_size", 1.0, "less than 1"),
        ("augment.scale_min", 0.0, "greater than 0"),
        ("augment.scale_min", 1.5, "less than or equal to 1"),
        ("stage2.layer_decay", 0.0, "greater than 0"),
        ("ablate.repeats", 0, "greater than or equal to 1"),
        ("labels", [], "at least 2 items"),
        ("labels", ["negative"], "at least 2 items"),
        ("backbone.fingerprint", "abc", "match pattern"),
        ("backbone.image_batch", 0, "greater than or equal to 1"),
        ("data.root", "", "at least 1 character"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_allowed(
    tmp_path: Path, key: str, value: Any, allowed: str
) -> None:
    text = message(tmp_path, key, value)
    assert text.startswith(f"{key}: {value!r}: ")
    assert allowed in text


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stage1.epochs", True, "integer"),
        ("seed", False, "integer"),
        ("stage1.epochs", 3.0, "integer"),
        ("stage1.lr_head", True, "number"),
        ("stage1.lr_head", "fast", "number"),
        ("stage1.lr_head", None, "number"),
        ("augment.flip", 1, "boolean"),
        ("augment.flip", "no", "boolean"),
        ("backbone.fingerprint", 5, "string"),
        ("data.root", 5, "string"),
        ("labels", "negative", "array"),
        ("head.hidden_dims", 64, "array"),
        ("stage1", None, "object"),
        ("stage1", [1, 2], "object"),
    ],
)
def test_a_value_of_another_type_is_named(
    tmp_path: Path, key: str, value: Any, expected: str
) -> None:
    text = message(tmp_path, key, value)
    assert text.startswith(f"{key}: {value!r}: ")
    assert expected in text


@pytest.mark.parametrize("key", ["stage1.lr_head", "head.dropout", "augment.jitter"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, key: str, value: float) -> None:
    assert message(tmp_path, key, value).startswith(f"{key}: {value!r}: ")


def test_nan_is_refused_where_there_is_only_a_lower_bound(tmp_path: Path) -> None:
    text = message(tmp_path, "stage1.max_grad_norm", float("nan"))
    assert text.startswith("stage1.max_grad_norm: nan: ")


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [("labels", ["a", ""], "labels.1"), ("head.hidden_dims", [64, 0], "head.hidden_dims.1")],
)
def test_a_wrong_item_of_a_list_is_named_by_its_place(
    tmp_path: Path, key: str, value: list[Any], place: str
) -> None:
    assert message(tmp_path, key, value).startswith(f"{place}: {value[1]!r}: ")


def test_a_repeated_label_is_refused(tmp_path: Path) -> None:
    text = message(tmp_path, "labels", ["negative", "negative", "positive"])
    assert text.startswith("labels: ")


@pytest.mark.parametrize("key", ["stage1.learning_rate", "head.width", "demo.size"])
def test_an_unknown_key_is_named(tmp_path: Path, key: str) -> None:
    assert message(tmp_path, key, 1) == f"{key}: unknown key"


@pytest.mark.parametrize("key", ["seed", "fusion", "stage1", "stage1.lr_head", "demo.seed"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert message(tmp_path, key, DELETED) == f"{key}: the key is missing"


def test_a_number_in_quotes_comes_with_a_hint(tmp_path: Path) -> None:
    text = PARAMS_FILE.read_text(encoding="utf-8")
    changed = text.replace("lr_head: 1.0e-3", "lr_head: '1e-3'")
    assert changed != text
    path = tmp_path / "params.yaml"
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(UserError) as error:
        params.load(train_stage1.Params, path)
    assert str(error.value) == (
        f"{path}: stage1.lr_head: '1e-3': input should be a valid number "
        "(a number in quotes is text: leave them out)"
    )


def test_a_string_that_is_no_number_comes_without_the_hint(tmp_path: Path) -> None:
    assert "quotes" not in message(tmp_path, "stage1.lr_head", "fast")


def test_of_several_mistakes_the_first_is_told_and_the_rest_counted(tmp_path: Path) -> None:
    text = message(tmp_path, "stage1", {"epochs": -1, "batch_size": 0})
    assert text.startswith("stage1.epochs: -1: ")
    assert text.endswith("(and 9 more)")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("equal", "'none', 'sqrt' or 'balanced'"),
        ({"negative": -1.0}, "-1.0"),
        ({"negative": 0.0}, "greater than 0"),
        ({"negative": float("nan")}, "nan"),
    ],
)
def test_a_mistake_in_class_weights_names_the_key_of_the_file(
    tmp_path: Path, value: Any, told: str
) -> None:
    text = message(tmp_path, "loss.class_weights", value)
    assert text.split(": ")[0] in ("loss.class_weights", "loss.class_weights.negative")
    assert "literal" not in text
    assert told in text.split(": ", 1)[1]


@pytest.mark.parametrize(("key", "value"), [("seed", 2**64), ("split.seed", 2**31)])
def test_a_seed_that_the_generators_do_not_take_is_refused(
    tmp_path: Path, key: str, value: int
) -> None:
    assert message(tmp_path, key, value).startswith(f"{key}: {value}: ")


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: no such file"):
        params.load(train_stage1.Params, tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("text", ["seed: [1", "a: b: c", "\tseed: 1"])
def test_a_file_that_is_not_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        params.load(train_stage1.Params, path)
    assert str(error.value).startswith(f"{path}: not YAML: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("seed: 1  # größe".encode("latin-1"))
    with pytest.raises(UserError, match=r"params\.yaml: "):
        params.load(train_stage1.Params, path)


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "seed"])
def test_a_file_without_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="expected a mapping of keys"):
        params.load(train_stage1.Params, path)


def test_keys_of_other_stages_are_not_read(tmp_path: Path) -> None:
    loaded = load_with(tmp_path, "stage1.epochs", 3)
    assert loaded.stage1.epochs == 3
    broken = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    broken["stage2"] = "not a section"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(broken), encoding="utf-8")
    assert params.load(train_stage1.Params, tmp_path / "params.yaml") == loaded


def test_lists_become_tuples_and_order_is_kept(tmp_path: Path) -> None:
    assert load_with(tmp_path, "labels", ["b", "a"]).labels == ("b", "a")
    assert load_with(tmp_path, "head.hidden_dims", [8, 4, 2]).head.hidden_dims == (8, 4, 2)
    assert load_with(tmp_path, "head.hidden_dims", []).head.hidden_dims == ()
    assert load_with(tmp_path, "ablate.fusions", ["gated"]).ablate.fusions == ("gated",)


def test_an_integer_does_for_a_float_and_keeps_its_value(tmp_path: Path) -> None:
    rate = load_with(tmp_path, "stage1.lr_head", 1).stage1.lr_head
    assert (type(rate), rate) == (float, 1.0)


def test_class_weights_may_be_given_by_label(tmp_path: Path) -> None:
    weights = {"negative": 1.0, "neutral": 2.0, "positive": 0.5}
    assert load_with(tmp_path, "loss.class_weights", weights).loss.class_weights == weights


def test_large_and_small_numbers_arrive_exactly(tmp_path: Path) -> None:
    assert load_with(tmp_path, "seed", 2**31 - 1).seed == 2**31 - 1
    assert load_with(tmp_path, "stage1.lr_head", 1.0e-7).stage1.lr_head == 1.0e-7


def test_params_are_frozen() -> None:
    loaded = params.load(train_stage1.Params, PARAMS_FILE)
    with pytest.raises(AttributeError):
        loaded.seed = 1  # type: ignore[misc]


def test_parse_names_its_source() -> None:
    @dataclass(frozen=True)
    class Only:
        seed: params.Count

    assert params.parse(Only, {"seed": 3}, "here") == Only(3)
    with pytest.raises(UserError, match=r"^here: seed: -3: "):
        params.parse(Only, {"seed": -3}, "here")


def test_both_training_sections_share_the_schedule() -> None:
    loaded = params.load(train_stage2.Params, PARAMS_FILE)
    assert isinstance(loaded.stage2, recipe.Schedule)
