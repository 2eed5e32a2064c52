"""Tests of the section `backbone`, and of how many layers of each encoder are finetuned."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentifuse.config import backbone, params
from sentifuse.errors import UserError
from stages import preprocess
from tests.places import ROOT


def load(values: dict[str, Any], **keys: Any) -> preprocess.Params:
    """The project's params with other `values` in the section `backbone`, and other `keys` beside it."""
    document = params.read(preprocess.Params, ROOT / "params.yaml") | keys
    section = {**document["backbone"], **values}
    return params.parse(preprocess.Params, {**document, "backbone": section}, "params.yaml")


def message(values: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(values, **keys)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith("params.yaml: ")
    return text.removeprefix("params.yaml: ")


@pytest.mark.parametrize("key", ["image", "text"])
def test_one_encoder_goes_by_its_name_and_several_are_a_list_in_their_order(key: str) -> None:
    for value, expected in (
        ("some/net", ("some/net",)),
        (["some/net"], ("some/net",)),
        (["z", "a@main", "/a/folder"], ("z", "a@main", "/a/folder")),
    ):
        assert getattr(load({key: value}).backbone, key) == expected


@pytest.mark.parametrize("key", ["image", "text"])
@pytest.mark.parametrize(
    ("value", "place", "shown", "expected"),
    [
        ([], "", "[]", "expected at least one"),
        ("", ".0", "''", "at least 1 character"),
        (["a", ""], ".1", "''", "at least 1 character"),
        (5, ".0", "5", "a valid string"),
        (True, ".0", "True", "a valid string"),
        (None, ".0", "None", "a valid string"),
        ({"a": "b"}, ".0", "{'a': 'b'}", "a valid string"),
        (["a", 5], ".1", "5", "a valid string"),
        (["a", ["b"]], ".1", "['b']", "a valid string"),
    ],
)
def test_what_is_no_name_is_told_as_the_one_mistake(
    value: Any, place: str, shown: str, expected: str, key: str
) -> None:
    text = message({key: value})
    assert text.startswith(f"backbone.{key}{place}: {shown}: ")
    assert text.endswith(expected)


@pytest.mark.parametrize("key", ["image", "text"])
def test_each_modality_has_an_encoder(key: str) -> None:
    document = params.read(preprocess.Params, ROOT / "params.yaml")
    section = {name: value for name, value in document["backbone"].items() if name != key}
    with pytest.raises(UserError, match=f"^here: backbone.{key}: the key is missing$"):
        params.parse(preprocess.Params, {**document, "backbone": section}, "here")


@pytest.mark.parametrize(
    "old", [{"name": "bundled"}, {"revision": None}, {"name": "openai/clip", "revision": "main"}]
)
@pytest.mark.parametrize("among_new_ones", [False, True])
def test_the_keys_of_before_stop_with_what_to_write_now(
    old: dict[str, Any], among_new_ones: bool
) -> None:
    document = params.read(preprocess.Params, ROOT / "params.yaml")
    section = document["backbone"] | old
    if not among_new_ones:
        section = {key: value for key, value in section.items() if key not in ("image", "text")}
    with pytest.raises(UserError) as caught:
        params.parse(preprocess.Params, {**document, "backbone": section}, "here")
    assert str(caught.value) == (
        "here: backbone: name and revision are gone: write backbone.image and backbone.text, each the "
        "name of an encoder, a folder, or a hub id with or without @revision (for CLIP: "
        "recipes/clip.yaml)"
    )


def test_any_other_key_is_unknown() -> None:
    assert message({"images": "a"}) == "backbone.images: unknown key"


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", backbone.BUILT_IN)
def test_an_encoder_that_comes_with_pip_knows_float32_only(name: str, precision: str) -> None:
    key = backbone.BUILT_IN[name]
    own = {"image": "some/net", "text": ["some/net", "other/net"]}
    assert load({**own, "precision": precision}).backbone.precision == precision
    for value in (name, ["some/net", name]):
        for allowed in ("auto", "fp32"):
            load({**own, key: value, "precision": allowed})
        assert message({**own, key: value, "precision": precision}) == (
            f"backbone: precision {precision!r}: the encoder {name!r} knows 'fp32' only, which 'auto' "
            "gives"
        )


KEYS = {"unfreeze_text_layers": "text", "unfreeze_vision_layers": "image"}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("value", "names", "expected"),
    [
        (0, ["a"], [0]),
        (3, ["a"], [3]),
        ([3], ["a"], [3]),
        (3, ["a", "b"], [3, 3]),
        ([3], ["a", "b"], [3, 3]),
        ([3, 0], ["a", "b"], [3, 0]),
        ([3, 0, 12], ["a", "b", "c"], [3, 0, 12]),
    ],
)
def test_layers_are_one_number_for_all_encoders_or_one_for_each(
    value: Any, names: list[str], expected: list[int], key: str
) -> None:
    found = getattr(load({KEYS[key]: names}, **{key: value}), key)
    assert list(backbone.spread(found, names)) == expected


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("value", "names"), [([3, 0], ["a"]), ([3, 0], ["a", "b", "c"]), ([1, 2, 3], ["a", "b"])]
)
def test_any_other_number_of_layers_is_refused_with_the_names(
    value: list[int], names: list[str], key: str
) -> None:
    text = message({KEYS[key]: names}, **{key: value})
    assert text == f"{key}: {value}: expected one number, or one for each of {', '.join(names)}"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("value", "place", "shown", "expected"),
    [
        ([], "", "[]", "expected at least one"),
        (-1, ".0", "-1", "greater than or equal to 0"),
        ([2, -1], ".1", "-1", "greater than or equal to 0"),
        (2.0, ".0", "2.0", "a valid integer"),
        (True, ".0", "True", "a valid integer"),
        (None, ".0", "None", "a valid integer"),
        ("2", ".0", "'2'", "a valid integer (a number in quotes is text: leave them out)"),
    ],
)
def test_what_is_no_number_of_layers_is_told_as_the_one_mistake(
    value: Any, place: str, shown: str, expected: str, key: str
) -> None:
    text = message({KEYS[key]: ["a", "b"]}, **{key: value})
    assert text.startswith(f"{key}{place}: {shown}: ")
    assert text.endswith(expected)


def test_a_list_on_the_page_is_a_list_of_encoders(tmp_path: Path) -> None:
    """As a recipe or `dvc exp run -S` leaves it in the file."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["backbone"]["text"] = ["minilm-l6", "some/net@0123abc"]
    document["unfreeze_text_layers"] = [3, 0]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    loaded = params.load(preprocess.Params, path)
    assert loaded.backbone.text == ("minilm-l6", "some/net@0123abc")
    assert loaded.unfreeze_text_layers == (3, 0)


def test_checking_the_section_does_not_import_torch() -> None:
    code = (
        "import sys; from sentifuse.config import backbone, params; from stages import preprocess; "
        "params.load(preprocess.Params); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("key", ["image", "text"])
def test_an_encoder_that_stands_twice_is_refused(key: str) -> None:
    assert message({key: ["a", "b", "a"]}) == f"backbone: {key}: 'a' stands twice"


@pytest.mark.parametrize(
    ("key", "name", "known"),
    [
        ("image", "minilm-l6", "efficientnet-lite0, efficientnet-lite1, efficientnet-lite2"),
        ("text", "efficientnet-lite1", "minilm-l6"),
    ],
)
def test_a_name_of_the_other_modality_is_told_the_ones_of_this(
    key: str, name: str, known: str
) -> None:
    reads = backbone.BUILT_IN[name]
    told = f"backbone: {key}: {name!r} reads {reads}s: expected {known}, a hub id or a folder"
    assert message({key: ["a", name]}) == told


def test_prompts_are_of_all_labels_or_none_where_they_may_be_used() -> None:
    both = {"image": "a/clip", "text": "a/clip"}
    told = "zero_shot.prompts: of sad: expected texts for each of negative, neutral, positive"
    assert told in message(both, zero_shot={"prompts": {"sad": ["x"]}})
    assert load(both, zero_shot={"prompts": {}}).zero_shot.prompts == {}
    assert load({}, zero_shot={"prompts": {"sad": ["x"]}}).zero_shot.prompts == {"sad": ("x",)}
