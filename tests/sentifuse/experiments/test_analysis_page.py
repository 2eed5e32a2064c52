import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from sentifuse.experiments import analysis_page, statistics
from sentifuse.experiments.analysis_page import Column
from sentifuse.experiments.read import Experiment
from sentifuse.experiments.run_reports import Report
from tests.search import experiment
from tools.browser import Browser

METRIC = "val.macro_f1"
NASTY = """</script><img src=x onerror="window.hacked=1">'"&<!--"""


def columns(ranked: Sequence[Experiment], *params: str, test: bool = False) -> dict[str, Column]:
    found = analysis_page.columns(ranked, METRIC, params, test)
    return {column.name: column for column in found}


def with_metrics(one: Experiment, **metrics: float) -> Experiment:
    dotted = {key.replace("__", "."): value for key, value in metrics.items()}
    return Experiment(one.name, one.rev, "main", one.created, one.params, one.metrics | dotted)


# The data of the page.


def param(*values: Any) -> Column:
    """The column of one param with these values; an experiment lacks it where the value is `...`."""
    runs = [
        experiment(f"run{at}", 0.5, **({} if value is ... else {"key": value}))
        for at, value in enumerate(values)
    ]
    return columns(runs, "key")["key"]


def test_the_metric_comes_first_and_only_params_that_differ_follow() -> None:
    ranked = [
        experiment("a", 0.6, fusion="gated", seed=1),
        experiment("b", 0.5, fusion="film", seed=1),
    ]
    found = columns(ranked)
    assert list(found) == [METRIC, "fusion"]
    assert found[METRIC].texts == ["0.6000", "0.5000"]
    assert found[METRIC].places == [1, 0]
    assert found["fusion"].texts == ["gated", "film"]
    assert all(column.shown for column in found.values())


def test_chosen_params_are_shown_and_the_others_that_differ_can_be() -> None:
    ranked = [
        experiment("a", 0.6, fusion="gated", seed=1),
        experiment("b", 0.5, fusion="film", seed=1),
    ]
    shown = {name: column.shown for name, column in columns(ranked, "seed").items()}
    assert shown == {METRIC: True, "seed": True, "fusion": False}


def test_the_test_part_intervals_and_counts_are_left_out() -> None:
    extra = {
        "val__accuracy": 0.7,
        "val__interval__macro_f1__low": 0.55,
        "val__interval__macro_f1__high": 0.65,
        "val__per_class__neutral__support": 20,
        "test__macro_f1": 0.6,
        "ablate__multimodal__macro_f1__mean": 0.4,
    }
    ranked = [with_metrics(experiment("a", 0.6), **extra), experiment("b", 0.5)]
    found = columns(ranked)
    assert list(found) == [METRIC, "val.accuracy"]
    assert found[METRIC].intervals == ["0.5500 to 0.6500", ""]
    assert not found["val.accuracy"].shown
    assert found["val.accuracy"].texts == ["0.7000", ""]
    assert found["val.accuracy"].places == [0.5, None]
    assert "test.macro_f1" in columns(ranked, test=True)


def test_numbers_stand_by_size_and_by_logarithm_where_they_span_a_decade() -> None:
    assert param(3, 1, 2).places == [1, 0, 0.5]
    rates = param(1e-3, 1e-5, 1e-4)
    assert rates.places == pytest.approx([1, 0, 0.5])
    assert rates.texts == ["0.001", "1e-05", "0.0001"]
    assert [text for _, text in rates.ticks] == ["1e-05", "0.0001", "0.001"]
    assert param(0.0, 10.0, 5.0).places == [0, 1, 0.5]


def test_anything_else_stands_at_even_distances_numbers_above_names() -> None:
    found = param(10, None, 9, "main", ..., True, [256, 64])
    assert [text for _, text in found.ticks] == [
        "-",
        "[256, 64]",
        "main",
        "null",
        "true",
        "9",
        "10",
    ]
    assert not found.numeric
    heights = [place for place, _ in found.ticks]
    assert heights == pytest.approx([(rank + 0.5) / 7 for rank in range(7)])
    assert found.texts[4] == ""
    assert found.places[4] == heights[0]


@pytest.mark.parametrize("odd", [math.inf, math.nan])
def test_numbers_without_a_place_on_a_scale_are_names(odd: float) -> None:
    found = param(1.0, odd, 2.0)
    assert not found.numeric
    assert None not in found.places


def test_many_numbers_get_a_few_round_ticks_that_leave_room() -> None:
    level = param(*[0.63 + 0.001 * step for step in range(76)])
    assert [text for _, text in level.ticks] == ["0.63", "0.645", "0.66", "0.675", "0.69", "0.705"]
    ends = param(*[0.7 - step / 50 for step in range(7)])
    assert [text for _, text in ends.ticks][::6] == ["0.58", "0.7"]
    rates = param(*[10 ** (-5 + 0.1 * step) for step in range(21)])
    assert [text for _, text in rates.ticks] == ["1e-05", "3e-05", "0.0001", "0.0003", "0.001"]
    names = param(*[f"{'x' * 30}{step}" for step in range(100)])
    assert 5 < len(names.ticks) < 20
    assert all(len(text) == 18 for _, text in names.ticks)


def test_close_numbers_do_not_write_over_each_other() -> None:
    assert [text for _, text in param(0.0, 1e-5, 0.1).ticks] == ["0", "0.1"]


# The page in a browser.

RUNS = [
    experiment("best", 0.70, fusion="gated", stage2__lr_clip=1e-4),
    experiment("second", 0.68, fusion="concat", stage2__lr_clip=1e-3),
    experiment("third", 0.66, fusion="gated", stage2__lr_clip=1e-5),
    experiment("fourth", 0.60, fusion="film", stage2__lr_clip=1e-4),
]
NAMES = [one.name for one in RUNS]


def write(
    folder: Path, ranked: Sequence[Experiment] = RUNS, notes: Sequence[str] = (), **more: Any
) -> Path:
    found = analysis_page.columns(ranked, METRIC, [], test=False)
    reports = more.get("reports", [Report() for _ in ranked])
    path = folder / "page.html"
    html = analysis_page.render(ranked, found, reports, more.get("repeats", {}), notes)
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Browser:
    """Four experiments, of which the best is picked."""
    browser.open(write(tmp_path))
    return browser


def rows(page: Browser) -> list[str]:
    """The names in the table, as they can be seen."""
    return [name.text for name in page.find("#table tbody th button") if name.is_displayed()]


def kept(page: Browser, kind: str) -> set[str]:
    """The experiments whose `path` or `circle` is not greyed out."""
    found = page.find(f"{kind}.run:not(.out)")
    return {NAMES[int(str(each.get_attribute("data-run")))] for each in found}


def picked(page: Browser, kind: str) -> set[str]:
    found = page.find(f"{kind}.run.picked")
    return {NAMES[int(str(each.get_attribute("data-run")))] for each in found}


def axis(page: Browser, name: str) -> WebElement:
    (found,) = page.find(f'#lines [aria-label="{name}"]')
    return found


def drag(
    page: Browser, area: WebElement, start: tuple[float, float], end: tuple[float, float]
) -> None:
    """Between two points, as shares of the area's width and height from its middle, -0.49 to 0.49."""
    width, height = area.size["width"], area.size["height"]
    at, to = ((round(width * x), round(height * y)) for x, y in (start, end))
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", area)
    chain = ActionChains(page.driver).move_to_element_with_offset(area, *at).click_and_hold()
    chain.move_by_offset(to[0] - at[0], to[1] - at[1]).release().perform()


def head(page: Browser, name: str) -> WebElement:
    found = page.find("#table thead button")
    return next(each for each in found if each.text.replace("\n", "") == name)


def test_it_shows_every_experiment_without_network_or_errors(page: Browser) -> None:
    assert rows(page) == NAMES
    assert kept(page, "path") == kept(page, "circle") == set(NAMES)
    assert picked(page, "path") == picked(page, "tr") == {"best"}
    assert page.requests()[1:] in ([], ["data:,"])
    assert page.network_requests() == page.console_errors() == page.console_warnings() == []


def test_a_head_sorts_and_again_the_other_way(page: Browser) -> None:
    head(page, "fusion").click()
    assert rows(page) == ["second", "fourth", "best", "third"]
    head(page, "stage2.lr_clip").click()
    assert rows(page) == ["second", "best", "fourth", "third"]
    head(page, "stage2.lr_clip").send_keys(Keys.ENTER)
    assert rows(page) == ["third", "best", "fourth", "second"]
    (sorted_by,) = page.find('#table [aria-sort="ascending"]')
    assert sorted_by.text.startswith("stage2.")
    assert page.driver.switch_to.active_element == sorted_by.find_element(By.TAG_NAME, "button")
    head(page, "experiment").click()
    assert rows(page) == sorted(NAMES)


def test_a_brush_on_an_axis_filters_the_plots_and_the_table(page: Browser) -> None:
    area = axis(page, METRIC)
    drag(page, area, (0, -0.49), (0, 0.2))  # from the top down to about 0.63
    assert rows(page) == ["best", "second", "third"]
    assert kept(page, "path") == kept(page, "circle") == {"best", "second", "third"}
    assert page.find("#count")[0].text == "3 of 4 experiments"
    assert page.find("#filters button")[0].text == "val.macro_f1: 0.6600 to 0.7000 ×"
    assert area.get_attribute("aria-valuetext") == "0.6600 to 0.7000"
    drag(page, axis(page, "fusion"), (0, -0.49), (0, -0.1))  # only `gated`, the uppermost
    assert rows(page) == ["best", "third"]
    area.click()  # in its middle, without moving: all figures again
    assert rows(page) == ["best", "third"]
    page.find("#filters button")[0].click()
    assert rows(page) == NAMES
    assert page.console_errors() == []


def test_a_brush_in_the_scatter_plot_filters_the_lines_and_the_table(page: Browser) -> None:
    Select(page.find("#x")[0]).select_by_visible_text("stage2.lr_clip")
    drag(page, page.find("#scatter .area")[0], (-0.2, -0.49), (0.2, 0.49))  # the middle rate
    assert rows(page) == ["best", "fourth"]
    assert kept(page, "path") == kept(page, "circle") == {"best", "fourth"}
    (shown,) = page.find('#lines [data-brush="2"]')  # the same range on its axis
    assert 0 < shown.size["height"] < axis(page, "stage2.lr_clip").size["height"]


def test_keys_on_an_axis_cut_off_its_ends_and_give_them_back(page: Browser) -> None:
    area = axis(page, METRIC)
    area.send_keys(Keys.ARROW_UP * 3)
    assert rows(page) == ["best", "second", "third"]
    area.send_keys(Keys.ARROW_DOWN * 2)
    assert rows(page) == ["second", "third"]
    area.send_keys(Keys.SHIFT, Keys.ARROW_UP * 2)
    assert rows(page) == ["best", "second", "third"]
    area.send_keys(Keys.ESCAPE)
    assert rows(page) == NAMES
    assert page.driver.switch_to.active_element == area


def test_a_click_on_a_row_a_line_or_a_point_picks_it_everywhere(page: Browser) -> None:
    page.find("#table tbody tr")[2].click()
    assert picked(page, "path") == picked(page, "circle") == picked(page, "tr") == {"best", "third"}
    compared = page.find("#picked table")[0].text
    assert "lr_clip 0.0001 1e-05" in compared.replace("\n", " ")
    assert "fusion" not in compared  # the same in both
    page.find('circle[data-run="3"]')[0].click()
    assert picked(page, "tr") == {"best", "third", "fourth"}
    page.find("#table tbody button")[0].send_keys(Keys.ENTER)
    assert picked(page, "path") == {"third", "fourth"}
    assert page.find('#table [aria-pressed="true"]')[0].text == "third"


def test_columns_can_be_shown_and_hidden(browser: Browser, tmp_path: Path) -> None:
    ranked = [with_metrics(one, val__accuracy=0.7 + at / 100) for at, one in enumerate(RUNS)]
    browser.open(write(tmp_path, ranked))
    assert not browser.find('#lines [aria-label="val.accuracy"]')
    browser.find("#columns summary")[0].click()
    for label in browser.find("#columns label"):
        if label.text.strip() in ("fusion", "val.accuracy"):
            label.click()
    heads = [each.text.replace("\n", "") for each in browser.find("#table thead th")]
    assert heads == ["experiment", METRIC, "stage2.lr_clip", "val.accuracy"]
    assert [each.get_attribute("aria-label") for each in browser.find("#lines [data-axis]")] == [
        "stage2.lr_clip",
        "val.accuracy",
        METRIC,
    ]


def test_names_and_values_are_text(browser: Browser, tmp_path: Path) -> None:
    ranked = [
        experiment(NASTY, 0.7, **{NASTY: NASTY}),
        experiment("b", 0.6, **{NASTY: "</SCRIPT>"}),
    ]
    report = Report(command=f"dvc get {NASTY}")
    path = write(tmp_path, ranked, [NASTY], reports=[report, Report()], repeats={NASTY: [NASTY]})
    browser.open(path)
    assert rows(browser) == [NASTY, "b"]
    browser.find("#table tbody tr")[1].click()
    Select(browser.find("#colour")[0]).select_by_visible_text(NASTY)
    drag(browser, axis(browser, METRIC), (0, -0.49), (0, 0))
    assert NASTY in browser.find("header .note")[0].text
    assert f"= {NASTY}" in browser.find("#table .range")[0].text
    assert browser.find("#picked code")[0].text == f"dvc get {NASTY}"
    assert browser.driver.execute_script("return window.hacked") is None
    assert browser.find("img") == []
    assert browser.console_errors() == browser.network_requests() == []


def test_a_report_is_a_link_or_the_command_that_gets_it(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a b.html").write_text("<!DOCTYPE html>the report")
    reports = [Report(link="a%20b.html"), Report(command="dvc get x"), Report(), Report()]
    browser.open(write(tmp_path, reports=reports))
    cells = [cell.text for cell in browser.find("#table tbody td:nth-child(2)")]
    assert cells == ["open", "command", "-", "-"]
    browser.find("#table tbody td a")[1].click()
    assert browser.find("#picked code")[0].text == "dvc get x"
    assert picked(browser, "tr") == {"best", "second"}
    browser.find("#table tbody td a")[0].click()
    assert browser.find("body")[0].text == "the report"


def test_what_an_experiment_lacks_breaks_its_line_only(browser: Browser, tmp_path: Path) -> None:
    ranked = [
        with_metrics(RUNS[0], val__accuracy=0.7),
        with_metrics(RUNS[1], val__accuracy=0.6),
        RUNS[2],
    ]
    browser.open(write(tmp_path, ranked))
    Select(browser.find("#x")[0]).select_by_visible_text("val.accuracy")
    assert kept(browser, "circle") == {"best", "second"}
    assert kept(browser, "path") == {"best", "second", "third"}
    drag(browser, browser.find("#scatter .area")[0], (-0.49, -0.49), (0.49, 0.49))
    assert rows(browser) == ["best", "second"]
    assert browser.console_errors() == []


def test_one_experiment_is_drawn(browser: Browser, tmp_path: Path) -> None:
    browser.open(write(tmp_path, RUNS[:1]))
    assert rows(browser) == ["best"]
    assert kept(browser, "circle") == {"best"}
    assert browser.console_errors() == []


def test_two_hundred_experiments_are_drawn_and_filtered(browser: Browser, tmp_path: Path) -> None:
    many = [
        experiment(
            f"run{at}", 0.7 - at / 1000, fusion=f"f{at % 5}", stage2__lr_clip=10 ** (-5 + at / 100)
        )
        for at in range(200)
    ]
    path = write(tmp_path, statistics.rank(many, METRIC))
    assert path.stat().st_size < 200_000
    browser.open(path)
    assert len(browser.find("path.run")) == len(browser.find("circle.run")) == 200
    drag(browser, axis(browser, METRIC), (0, -0.49), (0, 0))
    assert browser.find("#count")[0].text == f"{len(rows(browser))} of 200 experiments"
    assert 80 < len(rows(browser)) < 120


def test_it_fits_a_phone(browser: Browser, tmp_path: Path) -> None:
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        browser.open(write(tmp_path))
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") == 390
        assert browser.find("#scatter svg")[0].size["width"] > 300
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_data_stand_in_the_page_as_json(tmp_path: Path) -> None:
    html = write(tmp_path).read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert [run["name"] for run in json.loads(text)["runs"]] == NAMES
