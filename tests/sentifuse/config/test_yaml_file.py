from pathlib import Path

import pytest

from sentifuse.config import yaml_file
from sentifuse.errors import UserError


def _read(tmp_path: Path, text: str) -> dict[str, object]:
    path = tmp_path / "values.yaml"
    path.write_text(text)
    return yaml_file.read(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-06", 5e-6),
        ("1e-3", 1e-3),
        ("1.0e-3", 1e-3),
        ("2.", 2.0),
        (".5", 0.5),
        ("-1.5E+2", -150.0),
        ("3", 3),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("'1e-3'", "1e-3"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("null", None),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(tmp_path: Path, text: str, value: object) -> None:
    read = _read(tmp_path, f"key: {text}")["key"]
    assert read == value
    assert type(read) is type(value)


def test_values_are_those_that_dvc_reads(tmp_path: Path) -> None:
    from dvc.utils.serialize import load_yaml

    text = "a: 5e-06\nb: no\nc: [on, true, 1e3, .5]\nd: {e: ~, f: 0.1}\n"
    assert _read(tmp_path, text) == load_yaml(str(tmp_path / "values.yaml"))


def test_code_in_a_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not YAML"):
        _read(tmp_path, "key: !!python/object/apply:os.system [exit 1]")


@pytest.mark.parametrize("text", ["key: 2020-13-45", "key: [1"])
def test_what_is_not_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"values\.yaml: not YAML: ") as caught:
        _read(tmp_path, text)
    assert "\n" not in str(caught.value)
