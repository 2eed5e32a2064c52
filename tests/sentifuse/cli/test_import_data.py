import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.pipeline


def imported(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sentifuse", "import", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = (
        "1\tneutral,positive\n2\tneutral,neutral\n3\tnegative,positive\n4\tpositive,positive\n"
        "5\tnegative,neutral\n"
    )
    (tmp_path / "MVSA_Single" / "data").mkdir(parents=True)
    (tmp_path / "MVSA_Single" / "labelResultAll.txt").write_text(f"ID\ttext,image\n{labels}")
    for guid in "12345":
        (tmp_path / "MVSA_Single" / "data" / f"{guid}.txt").write_text("a tweet")
        if guid != "5":
            (tmp_path / "MVSA_Single" / "data" / f"{guid}.jpg").write_bytes(b"a picture")
    return tmp_path


def test_it_counts_classes_and_reasons_and_says_what_to_run_next(folder: Path) -> None:
    done = imported(folder, "mvsa", "MVSA_Single", "my data")
    assert (done.returncode, done.stdout) == (
        0,
        "MVSA-Single: 5 rows, 3 of them imported\n"
        "negative 0, neutral 1, positive 2\n"
        "left out: no image file (1)\n"
        "left out: text and image have opposite labels (1)\n"
        "my data/left_out.csv lists them\n"
        "next:\n"
        "  python -m sentifuse check 'my data'\n"
        "  dvc exp run -S data.root='my data'\n",
    )
    assert len((folder / "my data" / "samples.csv").read_text().splitlines()) == 4


def test_a_mistake_is_told_in_one_line(folder: Path) -> None:
    done = imported(folder, "mvsa", "MVSA_Single/data", "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: MVSA_Single/data: no labelResultAll.txt in it")
    assert len(done.stderr.splitlines()) == 1
    assert "invalid choice: 'flickr'" in imported(folder, "flickr", "MVSA_Single", "out").stderr
