import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.raw_files import HEADER, label_files, sample_files

pytestmark = pytest.mark.pipeline


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three labelled samples and one to predict, beside the project's own params."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    sample_files(tmp_path / "raw", dict.fromkeys("abcx", ".png"))
    train = f"{HEADER}a,positive\nb,neutral\nc,negative\n"
    return label_files(tmp_path / "raw", train, f"{HEADER}x,null\n")


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sentifuse", "check", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_sound_data_are_counted_and_the_exit_status_is_0(root: Path) -> None:
    done = check("raw")
    assert done.stdout == "3 labelled rows, 1 to predict\n\nno bad rows\n"
    assert done.returncode == 0


def test_bad_samples_are_grouped_and_counted_and_the_exit_status_is_1(root: Path) -> None:
    (root / "data" / "a.png").write_bytes(b"")
    (root / "data" / "x.txt").unlink()
    (root / "data" / "b.txt").unlink()
    (root / "data" / "c.txt").write_text("http://t.co/1", encoding="utf-8")
    with (root / "train.txt").open("a", encoding="utf-8") as file:
        file.write('"d\ne",positive\n')
    done = check("raw")
    assert done.returncode == 1
    assert done.stdout == (
        "4 labelled rows, 1 to predict\n"
        "\n"
        "bad: guid is not a plain file name (1)\n"
        r"  guid 'd\ne': raw/train.txt (letters, digits, `_`, `-` and `.` are)" "\n"
        "\n"
        "bad: image empty (1)\n"
        "  guid a: raw/data/a.png (0 bytes)\n"
        "\n"
        "bad: no text file (2)\n"
        "  guid b: raw/data/b.txt\n"
        "  guid x: raw/data/x.txt\n"
        "\n"
        "note: text empty after cleaning (1)\n"
        "  guid c: raw/data/c.txt\n"
        "\n"
        "4 bad rows\n"
    )  # fmt: skip


def test_programs_get_one_json_object(root: Path) -> None:
    (root / "data" / "x.txt").unlink()
    (root / "data" / "c.txt").write_text("http://t.co/1", encoding="utf-8")
    done = check("raw", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "labelled_rows": 3,
        "rows_to_predict": 1,
        "bad": [
            {"guid": "x", "file": "raw/data/x.txt", "reason": "no text file", "detail": ""}
        ],
        "notes": [
            {
                "guid": "c",
                "file": "raw/data/c.txt",
                "reason": "text empty after cleaning",
                "detail": "",
            }
        ],
    }  # fmt: skip


def test_label_files_that_cannot_be_read_are_one_line(root: Path) -> None:
    (root / "train.txt").write_text("1\tpositive\n", encoding="utf-8")
    done = check("raw")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        r"error: raw/train.txt: line 1: '1\tpositive', separated by '\t': "
        "expected the header `guid,tag`\n"
    )


def test_unknown_tags_and_labels_without_rows_are_told(root: Path) -> None:
    (root / "train.txt").write_text(f"{HEADER}a,positive\nb,joy\n", encoding="utf-8")
    done = check("raw")
    assert done.returncode == 1
    assert "bad: unknown tag (1)\n" in done.stdout
    assert "'joy' is not one of negative, neutral, positive" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "no usable row with the tag 'negative', 'neutral'; there are: 'positive'" in line
