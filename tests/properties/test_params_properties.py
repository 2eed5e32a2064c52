"""Properties of params: any value of any key is taken or refused in one line that names the key."""

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentifuse.config import params, yaml_file
from sentifuse.errors import UserError
from tests.places import ROOT

STAGES: dict[str, dict[str, Any]] = yaml_file.read(ROOT / "dvc.yaml")["stages"]
PLAIN = yaml_file.read(ROOT / "params.yaml")
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["concat", "1e-3", "0.1", "yes", "none", "nan", "!!python/object:os.system"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(document: dict[str, Any], *above: str) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for key, value in document.items():
        out.append((*above, key))
        if isinstance(value, dict):
            out += places(value, *above, key)
    return out


@pytest.mark.parametrize("stage", STAGES)
@given(data=st.data())
def test_a_value_is_taken_or_refused_in_one_line_with_its_key(stage: str, data: Any) -> None:
    kind = importlib.import_module(f"stages.{stage}").Params
    own = {
        key: copy.deepcopy(PLAIN[key]) for key in STAGES[stage]["params"] if isinstance(key, str)
    }
    *parents, last = data.draw(st.sampled_from(places(own)))
    value = data.draw(VALUES)
    section = own
    for parent in parents:
        section = section[parent]
    section[last] = value
    try:
        loaded = params.parse(kind, own, source="here")
    except UserError as error:
        message = str(error)
        assert message.startswith(f"here: {[*parents, last][0]}")
        assert "\n" not in message
    else:
        assert set(vars(loaded)) == set(own)


@given(st.text(max_size=60))
def test_a_file_of_params_is_read_or_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    document, told = {}, f"{path}: "
    try:
        document = yaml_file.read(path)
    except UserError as error:
        told = str(error)
    assert isinstance(document, dict)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.booleans()))
def test_numbers_are_read_as_dvc_writes_them(tmp_path: Path, value: float) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"x: {json.dumps(value)}\n", encoding="utf-8")
    found = yaml_file.read(path)["x"]
    assert (type(found), found) == (type(value), value)
