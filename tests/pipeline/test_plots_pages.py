"""The pages of `dvc plots`, in a browser: every plot of dvc.yaml is drawn, without a network."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.project import Project, lay_out
from tests.places import ROOT
from tools.browser import Browser

# The width and height in pixels that the lines, bars and points of each plot take up, legends left out.
_SPANS = """
return [...document.querySelectorAll("svg.marks")].map(plot => {
  const marks = plot.querySelectorAll(":is(.mark-line, .mark-rect, .mark-symbol).role-mark path");
  const boxes = [...marks].map(mark => mark.getBoundingClientRect());
  const span = (low, high) => Math.max(...boxes.map(high)) - Math.min(...boxes.map(low));
  return [span(box => box.left, box => box.right), span(box => box.top, box => box.bottom)];
});
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A repository with the code and the committed plots, where nothing has been run but the command."""
    project = lay_out(tmp_path_factory.mktemp("plots"))
    shutil.copytree(ROOT / "plots", project.folder / "plots")
    # The committed run has one split, and so no folds to draw.
    folds = "fold,macro_f1\n0,0.6\n1,0.7\n"
    (project.folder / "plots" / "folds.csv").write_text(folds, encoding="utf-8")
    project.commit("plots")
    project.run(sys.executable, "-m", "sentifuse", "offline-plots")
    return project


def plots() -> tuple[list[str], list[str]]:
    """The ids that DVC gives the drawn plots of dvc.yaml, and the paths of its images."""
    document = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    entries: list[dict[str, Any]] = list(document["plots"])
    for stage in document["stages"].values():
        entries += stage.get("plots", [])
    names = [name for entry in entries for name in entry]
    images = [name for name in names if name.endswith(".png")]
    return [name for name in names if name not in images], images


def check(browser: Browser, page: Path, revisions: int) -> None:
    drawn, images = plots()
    browser.open(page)
    browser.wait("svg.marks", count=len(drawn))
    assert browser.network_requests() == []
    assert browser.console_errors() == []
    boxes = browser.find("main > div")
    assert len(boxes) == len(drawn) + len(images)
    spans = browser.driver.execute_script(_SPANS)
    assert min(min(span) for span in spans) > 50, spans
    widths = [image.get_property("naturalWidth") for image in browser.find("main img")]
    assert len(widths) == revisions * len(images)
    assert min(widths) > 0


def test_show_draws_every_plot_and_asks_no_network(project: Project, browser: Browser) -> None:
    project.dvc("plots", "show")
    check(browser, project.folder / "dvc_plots" / "index.html", revisions=1)


def test_diff_draws_both_revisions(project: Project, browser: Browser, tmp_path: Path) -> None:
    changed = project.copy(tmp_path / "project")
    for name in ("stage1.csv", "confusion.csv", "ablate_runs.csv"):
        path = changed.folder / "plots" / name
        lines = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    changed.dvc("plots", "diff")
    check(browser, changed.folder / "dvc_plots" / "index.html", revisions=2)
    text = browser.find("body")[0].text
    assert "HEAD" in text
    assert "workspace" in text


def test_the_confusion_matrix_is_that_of_the_rows_of_the_actual_class(
    project: Project, browser: Browser, tmp_path: Path
) -> None:
    changed = project.copy(tmp_path / "project")
    rows = [
        "actual,predicted",
        *3 * ["negative,negative"],
        "negative,positive",
        "positive,positive",
    ]
    (changed.folder / "plots" / "confusion.csv").write_text("\n".join(rows) + "\n")
    changed.dvc("plots", "show", "plots/confusion.csv")
    browser.open(changed.folder / "dvc_plots" / "index.html")
    cells = browser.wait("svg.marks .mark-text.role-mark text", count=4)
    labels = [[line.text for line in cell.find_elements("tag name", "tspan")] for cell in cells]
    assert sorted(labels) == [["0", "0%"], ["1", "100%"], ["1", "25%"], ["3", "75%"]]


def test_the_page_stays_out_of_git(project: Project) -> None:
    assert project.git("status", "--porcelain") == ""
    assert (project.folder / ".dvc" / "plots" / "offline.html").exists()
