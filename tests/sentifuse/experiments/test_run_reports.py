import shlex
import shutil
from pathlib import Path

import pytest

from sentifuse.experiments import read, run_reports
from sentifuse.experiments.run_reports import Report
from tests import search

pytestmark = pytest.mark.pipeline

_EVALUATE = """\
import json, pathlib
score = len(pathlib.Path("params.yaml").read_text())
pathlib.Path("metrics.json").write_text(json.dumps({"val": {"macro_f1": score}}))
"""
_REPORT = """\
import pathlib
pathlib.Path("reports").mkdir()
pathlib.Path("reports/report.html").write_text(pathlib.Path("params.yaml").read_text())
"""
_DVC = """\
stages:
  evaluate:
    cmd: python evaluate.py
    params: [fusion]
    metrics: [metrics.json: {cache: false}]
  report:
    cmd: python report.py
    deps: [metrics.json]
    outs: [reports]
"""
_FILES = {
    "params.yaml": "fusion: film\n",
    "evaluate.py": _EVALUATE,
    "report.py": _REPORT,
    "dvc.yaml": _DVC,
}
_PAGE = Path("pages/page.html")
_FETCHED = Path("data/fetched")


@pytest.fixture(scope="module", params=[".", "sub folder"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `dvc.yaml` in DVC's root or below it, with the experiment `gated`; to be copied."""
    top = tmp_path_factory.mktemp("reports")
    folder = top / request.param
    folder.mkdir(exist_ok=True)
    for name, text in _FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    search.call(top, "git", "init", "--quiet", "--initial-branch=main")
    search.call(top, "git", "config", "user.email", "test@example.org")
    search.call(top, "git", "config", "user.name", "Test")
    search.call(top, "dvc", "init", "--quiet")
    search.call(folder, "dvc", "repro", "--quiet")
    search.call(top, "git", "add", "--all")
    search.call(top, "git", "commit", "--quiet", "--message", "results")
    search.make_experiment(folder, "gated", "fusion=gated")
    search.call(folder, "dvc", "checkout", "--quiet")
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    below = made.name == "sub folder"
    top = shutil.copytree(made.parent if below else made, tmp_path / "top")
    folder = top / made.name if below else top
    monkeypatch.chdir(folder)
    return folder


def located() -> dict[str, Report]:
    """The name of each experiment -> its report, found anew."""
    found, _ = read.read()
    reports = run_reports.locate(found, _PAGE, _FETCHED)
    return {one.name: report for one, report in zip(found, reports, strict=True)}


def test_a_report_is_linked_if_it_is_there_and_the_command_gets_it_if_not(project: Path) -> None:
    found = located()
    assert list(found) == ["gated", "main", "workspace"]
    assert found["main"] == found["workspace"] == Report(link="../reports/report.html")
    assert not found["gated"].link
    search.call(project, *shlex.split(found["gated"].command))
    link = located()["gated"].link
    assert link.startswith("../data/fetched/")
    assert (_PAGE.parent.resolve() / link).resolve().read_text() == "fusion: gated\n"


def test_a_file_of_other_params_is_not_linked(project: Path) -> None:
    Path("reports/report.html").unlink()
    Path("reports/report.html").write_text("another")
    assert located()["workspace"] == Report(command="dvc checkout reports")
    search.call(project, "dvc", "checkout", "--quiet", "--force")
    assert located()["workspace"].link


def test_a_report_that_was_not_made_anew_is_none(project: Path) -> None:
    Path("params.yaml").write_text("fusion: concat\n")
    search.call(project, "dvc", "repro", "--quiet", "evaluate")
    assert located()["workspace"] == Report()


def test_without_the_folder_there_are_commands_only(project: Path) -> None:
    shutil.rmtree("reports")
    assert all(report.command and not report.link for report in located().values())


def test_experiments_without_a_report_have_none(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    assert set(located().values()) == {Report()}
