"""Tests of the tool that writes what stages depend on."""

from pathlib import Path

import pytest
import yaml

from tools import dependencies

DVC_YAML = """\
stages:
  one:
    cmd: python -m stages.one
    deps: [
      data/in.csv,
      # code: make deps
      lib/gone.py,
      # end
    ]
    params: [
      seed,
      pins.yaml: [
        # libraries: make deps
        # end
      ],
    ]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "dvc.yaml": DVC_YAML,
        "stages/one.py": "from lib import plain\n",
        "lib/plain.py": "def f():\n    from PIL import Image\n    import sklearn.linear_model\n",
        "lib/other.py": "import torch\n",
        "requirements.txt": "# what it runs on\ntorch==2.0\npillow==9.0  \nscikit-learn==1.5\ntqdm==4.0\n",
        "requirements-ocr.txt": "rapidocr==3.0\nopencv-python-headless==5.0\n",
        "constraints.txt": "scipy==1.9\nclick==8.0\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_only_what_stands_between_the_marks_is_written(project: Path) -> None:
    expected = DVC_YAML.replace("lib/gone.py,", "lib/plain.py, stages/one.py,")
    # scikit-learn leaves its sums to SciPy, which is no requirement of its own here.
    found = "        pillow, scikit-learn, scipy,\n        # end\n"
    expected = expected.replace("        # end\n", found)
    assert dependencies.pipeline(project) == expected
    (project / "dvc.yaml").write_text(expected)
    assert dependencies.pipeline(project) == expected
    [stage] = yaml.safe_load(expected)["stages"].values()
    assert stage["deps"] == ["data/in.csv", "lib/plain.py", "stages/one.py"]
    assert stage["params"] == ["seed", {"pins.yaml": ["pillow", "scikit-learn", "scipy"]}]


def test_long_lists_go_on_in_the_next_line(project: Path) -> None:
    for number in range(20):
        (project / "lib" / f"module_{number:02}.py").touch()
    imports = "".join(f"import lib.module_{number:02}\n" for number in range(20))
    (project / "stages" / "one.py").write_text(imports)
    text = dependencies.pipeline(project)
    assert max(map(len, text.splitlines())) <= 118
    assert len(yaml.safe_load(text)["stages"]["one"]["deps"]) == 22


def test_pins_are_those_that_results_come_from(project: Path) -> None:
    assert dependencies.pinned(project).splitlines()[1:] == [
        'opencv-python-headless: "5.0"', 'pillow: "9.0"', 'rapidocr: "3.0"', 'scikit-learn: "1.5"',
        'scipy: "1.9"', 'torch: "2.0"',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "      # end\n    ]\n    params",
            "    ]\n    params",
            "before the '# end' of the one above",
        ),
        ("        # end\n", "", "one: no '# end' at its end"),
    ],
)
def test_a_mark_without_its_end_is_an_error(
    old: str, new: str, message: str, project: Path
) -> None:
    assert old in DVC_YAML
    (project / "dvc.yaml").write_text(DVC_YAML.replace(old, new))
    with pytest.raises(ValueError, match=message):
        dependencies.pipeline(project)


def test_the_check_writes_nothing_and_names_what_is_old(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dependencies, "ROOT", project)
    assert dependencies.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "dvc.yaml: not up to date: run `make deps`", "pins.yaml: not up to date: run `make deps`",
    ]  # fmt: skip
    assert (project / "dvc.yaml").read_text() == DVC_YAML
    assert dependencies.main([]) == 0
    assert dependencies.main(["--check"]) == 0
