import argparse
import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sentifuse.cli import analyze as analyze_command
from sentifuse.errors import UserError
from tests import search

pytestmark = pytest.mark.pipeline


def analyze(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return search.run(folder, sys.executable, "-m", "sentifuse", "analyze", *options)


def refused(folder: Path, *options: str) -> str:
    done = analyze(folder, *options)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def rows(printed: str, first: str) -> list[list[str]]:
    """The rows of the printed table whose head begins with `first`."""
    lines = printed.split("\n")
    start = next(number for number, line in enumerate(lines) if line.split()[:1] == [first])
    end = lines.index("", start)
    return [line.split() for line in lines[start + 1 : end]]


def test_real_experiments_are_ranked_grouped_and_written(searched: Path) -> None:
    options = ["--top=3", "--group-by=fusion", "--latex=t/groups.tex", "--html=t/runs.html"]
    done = analyze(searched, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, second, third = rows(done.stdout, "rank")
    assert first[1:5] == ["fast", "0.7600", "0.1000", "to"]
    # The commit that the others derive from has a name that changes.
    assert second[2] == "0.6600"
    assert third[1:3] == ["gated", "0.6500"]
    # The commit's own run, `fast` and `slow` are `concat`: scores .66, .76, .530.
    groups = {row[0]: row[1:] for row in rows(done.stdout, "fusion")}
    assert groups["concat"] == ["0.6500", "0.1154", "0.7600", "3"]
    assert groups["gated"] == ["0.6500", "-", "0.6500", "1"]
    assert "log10(stage2.lr_clip)" in done.stdout
    assert "workspace = " in done.stdout
    text = (searched / "data" / "analysis" / "experiments.csv").read_text(encoding="utf-8")
    table = {row["name"]: row for row in csv.DictReader(text.splitlines())}
    assert table["fast"]["head.hidden_dims"] == "[]"
    assert table["fast"]["backbone.fingerprint"] == "null"
    assert table["slow"]["backbone.fingerprint"] == "main"
    assert table["slow"]["ablate.multimodal.macro_f1.mean"] == "0.5"
    assert "seed" not in table["slow"]
    assert (searched / "t" / "groups.tex").read_text().startswith("% needs")
    page = (searched / "t" / "runs.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert '"name": "fast"' in page
    assert "not counted again, same params and metrics: " in page
    assert "test.macro_f1" not in page


def test_the_test_part_ranks_only_with_leave_and_a_warning(searched: Path) -> None:
    assert "--allow-test" in refused(searched, "--metric", "test.macro_f1")
    options = ("--allow-test", "--where", "fusion=concat", "--html", "data/page.html")
    done = analyze(searched, "--metric", "test.macro_f1", *options)
    assert done.returncode == 0
    page = (searched / "data" / "page.html").read_text(encoding="utf-8")
    assert "test.macro_f1 is of the test part" in page
    assert rows(done.stdout, "rank")[0][1] == "slow"
    assert done.stderr.startswith("warning: test.macro_f1 is of the test part")
    assert "gated" not in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metric", "val.macro_f"), "there is val.macro_f1"),
        (("--metric", "ablate.multimodal.macro_f1.mean"), "add --allow-test"),
        (("--group-by", "fusoin"), "there is fusion"),
        (("--params", "lr_clip"), "there is stage2.lr_clip"),
        (("--where", "fusion=none"), "no experiment has these params"),
        (("--where", "fusion"), "expected KEY=VALUE"),
        (("--top", "0"), "expected 1 or more"),
        (("--latex", "params.yaml"), "--latex params.yaml: the output is the input params.yaml"),
        (("--html", "folder.html"), "--html folder.html: a folder"),
        (("--out", "params.yaml"), "--out params.yaml/experiments.csv: no file can be made there"),
        (("--latex", "x.html", "--html", "./x.html"), "two of these name one file"),
    ],
)
def test_a_mistake_is_an_error_and_writes_nothing(
    options: tuple[str, ...], said: str, searched_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched_once)
    (searched_once / "folder.html").mkdir(exist_ok=True)
    parser = argparse.ArgumentParser()
    analyze_command.add_options(parser)
    with pytest.raises(UserError, match=re.escape(said)):
        analyze_command.run(parser.parse_args(options))
    assert not (searched_once / "data").exists()


def test_without_experiments_it_says_how_to_run_some(tmp_path: Path) -> None:
    assert "no DVC repository" in refused(tmp_path)
    search.call(tmp_path, "git", "init", "--quiet")
    search.call(tmp_path, "dvc", "init", "--quiet")
    assert "dvc exp run -n gated" in refused(tmp_path)


def test_experiments_on_other_data_come_with_a_warning(searched: Path) -> None:
    path = searched / "params.yaml"
    path.write_text(path.read_text() + "split: {seed: 42}\n")
    search.call(searched, "git", "commit", "--quiet", "--all", "--message", "split")
    search.call(
        searched,
        "dvc",
        "exp",
        "run",
        "--quiet",
        "-n",
        "split7",
        "-S",
        "split.seed=7",
        "-S",
        "seed=1",
    )
    warning = analyze(searched).stderr
    assert "differ in split.seed: figures of different samples" in warning
