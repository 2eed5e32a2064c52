from pathlib import Path

import pytest
from dvc.config import Config
from dvc.repo import Repo
from dvc_render.html import HTML

from sentifuse.errors import UserError
from sentifuse.experiments import offline_plots
from tools.browser import Browser


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DVC repository, out of reach of this machine's own DVC settings."""
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    folder = tmp_path / "repository"
    folder.mkdir()
    Repo.init(str(folder), no_scm=True).close()
    # The real libraries take seconds to bundle; tests/pipeline/test_plots_pages.py draws with them.
    monkeypatch.setattr(offline_plots, "_bundle", lambda: "bundle")
    return folder


def template(repository: Path) -> str | None:
    return Config(str(repository / ".dvc"))["plots"].get("html_template")


def test_dvc_accepts_the_page_and_adds_no_script_of_its_own(repository: Path) -> None:
    page = offline_plots.install(repository)
    html = HTML(page.read_text(encoding="utf-8"), refresh_seconds=7)
    html.with_scripts('<script src="https://cdn.example/vega.js">').with_element("<div>here</div>")
    filled = html.embed()
    assert "cdn.example" not in filled
    assert "<main>\n<div>here</div>\n</main>" in filled
    assert '<meta http-equiv="refresh" content="7">' in filled


def test_the_page_is_named_in_the_local_config_only(repository: Path) -> None:
    committed = (repository / ".dvc" / "config").read_bytes()
    (repository / "deeper").mkdir()
    page = offline_plots.install(repository / "deeper")
    assert page == repository / ".dvc" / "plots" / "offline.html"
    assert template(repository) == "plots/offline.html"
    assert (repository / ".dvc" / "config").read_bytes() == committed


def test_other_local_settings_stay(repository: Path) -> None:
    with Config(str(repository / ".dvc")).edit("local") as local:
        local["plots"] = {"auto_open": True}
    offline_plots.install(repository)
    assert Config(str(repository / ".dvc"))["plots"]["auto_open"] is True
    assert template(repository) == "plots/offline.html"


def test_a_page_of_another_version_is_replaced(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline_plots.install(repository)
    monkeypatch.setattr(offline_plots, "_bundle", lambda: "second")
    page = offline_plots.install(repository)
    assert "<script>\nsecond\n</script>" in page.read_text(encoding="utf-8")


def test_a_page_of_the_users_own_is_not_replaced(repository: Path) -> None:
    with Config(str(repository / ".dvc")).edit("repo") as config:
        config["plots"] = {"html_template": "mine.html"}
    with pytest.raises(UserError, match=r"plots\.html_template: mine\.html"):
        offline_plots.install(repository)
    assert template(repository) == "mine.html"
    assert not (repository / ".dvc" / "plots").exists()


def test_outside_a_dvc_repository_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not in a DVC repository"):
        offline_plots.install(tmp_path)


def test_what_would_end_a_script_early_is_escaped_and_means_the_same(
    browser: Browser, tmp_path: Path
) -> None:
    script = 'window.told = ["</script>", "<!-- <script>", "</SCRIPT >", 1 < 2, `<b>`].join("|")'
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><script>{offline_plots.escape(script)}</script>")
    browser.open(page)
    told = browser.driver.execute_script("return window.told")
    assert told == "</script>|<!-- <script>|</SCRIPT >|true|<b>"
    assert "1 < 2" in offline_plots.escape(script)
