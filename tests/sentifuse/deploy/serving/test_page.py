"""The page in a real browser, on a real server with a tiny model."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np
import pytest
import uvicorn
from PIL import Image

from sentifuse.deploy import predict_csv
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.predictor import Predictor
from sentifuse.deploy.serving.app import create_app
from sentifuse.deploy.serving.guards import ANYBODY, Access
from sentifuse.deploy.serving.limits import Limits
from tests.bundles import make_bundle

if TYPE_CHECKING:
    from tools.browser import Browser

LIMITS = Limits(
    upload_bytes=50_000, pixels=10_000, text_characters=200, seconds=20, workers=1, queue=8, batch=4, delay=0
)  # fmt: skip
FILES = ("", "page.css", "page.js", "explain.js", "server.js", "table.js", "csv.js", "health")
TEXT = "what a <script>alert(1)</script> good day"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(make_bundle(tmp_path_factory.mktemp("page")), max_pixels=LIMITS.pixels)


@contextmanager
def serving(predictor: Predictor, access: Access = ANYBODY) -> Iterator[str]:
    """A server on a free port of this machine."""
    app = create_app(predictor, LIMITS, access)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + 20
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def address(predictor: Predictor) -> Iterator[str]:
    with serving(predictor) as address:
        yield address


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "holiday <b>.png"
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def text_of(browser: "Browser", css: str) -> str:
    [element] = browser.find(css)
    return element.text


def ask(browser: "Browser", image: Path | None = None, text: str = "") -> None:
    if image is not None:
        browser.find("#image")[0].send_keys(str(image))
    browser.find("#text")[0].clear()
    browser.find("#text")[0].send_keys(text)
    browser.find("#go")[0].click()


def check_shown(browser: "Browser", found: Prediction) -> None:
    """The page shows just what the model says."""
    verdict = f"{found.label}, {100 * found.confidence:.1f} %"
    assert text_of(browser, "#verdict") == verdict
    shown = [item.text.splitlines() for item in browser.find("#probabilities li")]
    assert shown == [
        [label, f"{100 * share:.1f} %"] for label, share in found.probabilities.items()
    ]
    assert text_of(browser, "#probabilities li.best .name") == found.label
    added = {"text": found.text_contribution, "image": found.image_contribution}
    expected = [
        [name, f"{100 * value:+.1f} points".replace("-", "\u2212")]
        if name in found.used
        else [name, "silent"]
        for name, value in added.items()
    ]
    shown = [item.text.splitlines() for item in browser.find("#contributions li")]
    assert shown == expected
    assert text_of(browser, "#heard").startswith(verdict)


def check_quiet(browser: "Browser", address: str, predictions: int) -> None:
    """Nothing was asked of any other server, and nothing went wrong."""
    asked = [*FILES, *["predict"] * predictions]
    assert sorted(browser.network_requests()) == sorted(f"{address}/{name}" for name in asked)
    assert browser.console_errors() == []
    assert browser.console_warnings() == []


def test_a_picture_and_a_text_are_read(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    assert not browser.find("#go")[0].is_enabled()
    ask(browser, picture, TEXT)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(picture, TEXT))
    answer = httpx2.post(
        f"{address}/predict", files={"image": picture.read_bytes()}, data={"text": TEXT}
    )
    check_shown(browser, Prediction(**answer.json()))
    assert text_of(browser, "#name") == picture.name
    assert text_of(browser, "#spoke").startswith("The ")
    assert browser.find("#preview")[0].is_displayed()
    check_quiet(browser, address, 1)


def test_an_answer_is_explained_when_asked(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    text = "so 😀 <b>good</b> day"
    browser.open(address + "/")
    ask(browser, picture, text)
    browser.wait("#explain:not([hidden])")
    assert not browser.find("#explanation")[0].is_displayed()
    browser.find("#explain")[0].click()
    browser.wait("#explanation:not([hidden])")
    found = predictor.explain(picture, text)
    assert text_of(browser, "#explanation-title") == f"What moved “{found.prediction.label}”"
    assert text_of(browser, "#words") == text
    added = [word.contribution for word in found.words] + [v for row in found.grid for v in row]
    scale = max(0.02, *map(abs, added))
    coloured = [word for word in found.words if abs(word.contribution) >= max(0.0005, 0.05 * scale)]
    marks = browser.find("#words mark")
    assert [mark.text for mark in marks] == [word.text for word in coloured]
    sides = [mark.get_attribute("class") for mark in marks]
    assert sides == ["for" if word.contribution > 0 else "against" for word in coloured]
    assert len(browser.find("#cells span")) == 16
    told = ", ".join(f"{100 * v:+.1f}".replace("-", "\u2212") for row in found.grid for v in row)
    assert browser.find("#parts")[0].accessible_name.split(": ")[1].replace(
        "\u22120.0", "+0.0"
    ) == (told.replace("\u22120.0", "+0.0"))
    assert len(browser.find("#figures tr")) == 8
    assert "/explain" in browser.network_requests()[-1]
    assert browser.console_errors() == browser.console_warnings() == []
    # Another answer is not explained yet.
    ask(browser, None, "bad")
    browser.wait("#explain:not([hidden])")
    assert not browser.find("#explanation")[0].is_displayed()


def test_bars_are_as_long_as_the_figures_say(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    ask(browser, picture, TEXT)
    browser.wait("#result:not([hidden])")
    time.sleep(0.5)  # the bars grow
    found = predictor.predict(picture, TEXT)
    script = """
        const share = (bar) => bar.getBoundingClientRect().width / bar.parentNode.clientWidth;
        return [...document.querySelectorAll(".bar")].map(share);
    """
    shown = browser.driver.execute_script(script)
    contributions = [found.text_contribution, found.image_contribution]
    expected = [*found.probabilities.values(), *(abs(each) / 2 for each in contributions)]
    np.testing.assert_allclose(shown, expected, atol=0.01)


def test_one_of_the_two_is_enough(
    browser: "Browser", address: str, predictor: Predictor, picture: Path
) -> None:
    browser.open(address + "/")
    ask(browser, picture)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(picture))
    assert text_of(browser, "#spoke") == "Only the image spoke."
    browser.find("#clear")[0].click()
    assert not browser.find("#go")[0].is_enabled()
    ask(browser, text=TEXT)
    end = time.monotonic() + 10
    while text_of(browser, "#spoke") != "Only the text spoke." and time.monotonic() < end:
        time.sleep(0.05)
    check_shown(browser, predictor.predict(text=TEXT))
    check_quiet(browser, address, 2)


def test_what_is_wrong_is_told_and_mended(browser: "Browser", address: str, tmp_path: Path) -> None:
    browser.open(address + "/")
    large, many, fake = tmp_path / "large.png", tmp_path / "many.png", tmp_path / "fake.png"
    large.write_bytes(bytes(60_000))
    Image.new("1", (200, 200)).save(many)
    fake.write_bytes(b"<img src=x onerror=alert(1)>")
    browser.wait("#text[maxlength]")  # now the page knows the limits
    browser.find("#image")[0].send_keys(str(large))
    assert text_of(browser, "#alert").startswith("The picture has 0.1 MB; at most")
    for path, message in ((many, "200 x 200 pixels, more than 10000"), (fake, "none of JPEG")):
        ask(browser, path)
        browser.wait("#alert:not([hidden])")
        assert message in text_of(browser, "#alert")
    browser.find("#clear")[0].click()
    assert not browser.find("#alert")[0].is_displayed()


def test_it_works_by_keyboard_and_every_control_has_a_name(
    browser: "Browser", address: str, predictor: Predictor
) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(address + "/")
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if not node["ignored"] and node.get("name", {}).get("value")
    }
    assert ("textbox", "Text") in named
    assert ("button", "Read the sentiment") in named
    assert any(name.startswith("Choose a picture") for _, name in named), named
    assert any(name.startswith("Choose a CSV") for _, name in named), named
    focused = []
    for _ in range(3):  # what a disabled button cannot have is passed over
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        focused.append(browser.driver.switch_to.active_element.get_attribute("id"))
    assert focused == ["image", "text", "files"]
    box = browser.find("#text")[0]
    box.send_keys("good day", Keys.CONTROL, Keys.ENTER)
    browser.wait("#result:not([hidden])")
    check_shown(browser, predictor.predict(text="good day"))


@pytest.mark.parametrize("width", [320, 360, 760, 1200])
def test_nothing_sticks_out_at_any_width(
    browser: "Browser", address: str, picture: Path, week: list[Path], width: int
) -> None:
    size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        browser.open(address + "/")
        ask(browser, picture, "g" * 120)
        browser.wait("#result:not([hidden])")
        choose(browser, week)
        read_all(browser)
        script = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
        wanted, there = browser.driver.execute_script(script)
        assert wanted == there
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


ROWS = """guid,image,text
a,pictures/one.png,what a good day
b,"","=1+1, ""quoted""
on two lines"
-c,pictures/missing.png,the bus
d,,https://t.co/x
e,,too,many fields
f,fake.png,
"""


@pytest.fixture
def week(tmp_path: Path, picture: Path) -> list[Path]:
    """A CSV with rows of all kinds, and its pictures."""
    table, one, fake = tmp_path / "week.csv", tmp_path / "one.png", tmp_path / "fake.png"
    table.write_text(ROWS, encoding="utf-8-sig")
    one.write_bytes(picture.read_bytes())
    fake.write_bytes(b"<svg onload=alert(1)>")
    return [table, one, fake]


def choose(browser: "Browser", files: list[Path]) -> None:
    browser.find("#files")[0].send_keys("\n".join(map(str, files)))
    browser.wait("#rows tr, #files-alert:not([hidden])")


def read_all(browser: "Browser") -> None:
    browser.find("#start")[0].click()
    wait_for(browser, "#rows-heard", "Done.")


def wait_for(browser: "Browser", css: str, words: str) -> None:
    end = time.monotonic() + 20
    while words not in str(browser.find(css)[0].get_property("textContent")):
        assert time.monotonic() < end, browser.find(css)[0].get_property("textContent")
        time.sleep(0.05)


def shown_rows(browser: "Browser") -> list[list[str]]:
    script = """
        const texts = (row) => [...row.cells].map((cell) => cell.textContent);
        return [...document.querySelectorAll("#rows tr")].map(texts);
    """
    found: list[list[str]] = browser.driver.execute_script(script)
    return found


def test_the_rows_of_a_csv_are_answered_or_refused_each(
    browser: "Browser", address: str, predictor: Predictor, week: list[Path]
) -> None:
    browser.open(address + "/")
    choose(browser, week)
    assert text_of(browser, "#files-chosen") == "week.csv: 6 rows, 2 pictures"
    assert len(browser.find("#rows img")) == 2
    read_all(browser)
    assert text_of(browser, "#counted") == "2 of 6 rows read, 4 refused"
    texts = ["what a good day", '=1+1, "quoted"\non two lines']
    found = [predictor.predict(week[1], texts[0]), predictor.predict(text=texts[1])]
    rows = shown_rows(browser)
    for place, one in enumerate(found):
        sure = f"{100 * one.confidence:.1f}\u00a0%"
        assert rows[place] == [str(place + 1), texts[place], one.label, sure]
    refusals = (
        "no such picture was chosen",
        "nothing to predict",
        "number of fields",
        "none of JPEG",
    )
    for row, words in zip(rows[2:], refusals, strict=True):
        assert words in row[2]
    progress = browser.find("#progress")[0]
    assert (progress.get_property("value"), progress.get_property("max")) == (6, 6)
    errors = browser.console_errors()  # the two that the server refused, and no exception
    assert len(errors) == 2
    assert all("status of 422" in each for each in errors)


def downloaded(browser: "Browser", folder: Path) -> str:
    """What the button hands to the browser."""
    browser.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
    )
    browser.find("#download")[0].click()
    end = time.monotonic() + 10
    while not (folder / "week-answers.csv").is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    return (folder / "week-answers.csv").read_text(encoding="utf-8")


def test_the_answers_are_downloaded_as_the_command_writes_them(
    browser: "Browser", address: str, predictor: Predictor, week: list[Path], tmp_path: Path
) -> None:
    browser.open(address + "/")
    choose(browser, week)
    read_all(browser)
    browser.find("[data-sort=confidence]")[0].click()  # the order of the file stays
    told = downloaded(browser, tmp_path / "downloads").splitlines()
    predict_csv.predict(predictor, week[0], tmp_path / "out.csv", skip=True)
    header, first, _, third, *_ = (tmp_path / "out.csv").read_text().splitlines()
    assert told[0] == header
    # `pictures/one.png` is not where the CSV says: the command does not find it, the page has it.
    assert first.startswith("2,a,,")
    one = predictor.predict(week[1], "what a good day")
    figures = [
        *one.probabilities.values(),
        one.confidence,
        one.text_contribution,
        one.image_contribution,
    ]
    assert told[1] == f"2,a,{one.label},{','.join(f'{each:.6f}' for each in figures)},"
    # A spreadsheet would run what begins like a formula.
    assert third.startswith("5,-c,")
    assert told[3] == "5,'-c,,,,,,,,pictures/missing.png: no such picture was chosen"
    assert len(told) == 7


def test_a_table_is_sorted_by_any_column_with_refusals_last(
    browser: "Browser", address: str, week: list[Path]
) -> None:
    browser.open(address + "/")
    choose(browser, week)
    read_all(browser)
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    heard = {
        (node["role"]["value"], node.get("name", {}).get("value"))
        for node in tree
        if not node["ignored"]
    }
    headers = {("columnheader", name) for name in ("Row", "Text", "Answer", "Sure")}
    assert heard >= {("table", "Many pairs"), ("progressbar", "Rows that are done"), *headers}
    assert browser.find("#rows-heard")[0].get_attribute("aria-live") == "polite"
    for by in ("confidence", "answer", "text", "row"):
        button = browser.find(f"[data-sort={by}]")[0]
        for direction in ("ascending", "descending"):
            button.send_keys("\n")
            head = [each.get_attribute("aria-sort") for each in browser.find("thead th")]
            assert [each for each in head if each] == [direction]
            rows = shown_rows(browser)
            column = {"row": 0, "text": 1, "answer": 2, "confidence": 3}[by]
            keys = [row[column] for row in rows]
            if by in ("answer", "confidence"):
                assert all(len(row[3]) > 0 for row in rows[:2])
                keys = keys[:2]
            assert keys == sorted(keys, key=str.casefold, reverse=direction == "descending")
            assert direction in text_of_hidden(browser, "#rows-heard")


def text_of_hidden(browser: "Browser", css: str) -> str:
    return str(browser.find(css)[0].get_property("textContent"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"guid,words\n1,x\n", "line 1: expected a header with text, image or both"),
        ("a.csv", b"text,text_file\n1,x\n", "text_file: a page cannot read files"),
        ("a.csv", b"text\n", "no rows below the header"),
        ("a.csv", b"", "line 1: expected a header"),
        ("a.csv", b'text\nx\n"open\nmore\n', "line 3: a quote is opened and never closed"),
        ("a.csv", "text\nä".encode("latin-1"), "not UTF-8 text"),
        ("a.csv", b"text\n" + b"x\n" * 5001, "5001 rows, at most 5000 are taken"),
        ("a.xlsx", b"PK", "a.xlsx: neither a CSV nor a picture"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    browser: "Browser", address: str, tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    browser.open(address + "/")
    (tmp_path / name).write_bytes(content)
    choose(browser, [tmp_path / name])
    alert = text_of(browser, "#files-alert")
    assert alert.startswith(f"{name}: ")
    assert told in alert
    assert not browser.find("#many")[0].is_displayed()


@pytest.mark.parametrize("zone", ["body", "#drop", "#files-drop"])
def test_a_csv_can_be_dropped_anywhere_on_the_page(
    browser: "Browser", address: str, zone: str
) -> None:
    browser.open(address + "/")
    left = browser.driver.execute_script(
        """
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File(["text\\nwhat a day\\n"], "Week.CSV"));
        const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
        return document.querySelector(arguments[0]).dispatchEvent(event);
        """,
        zone,
    )
    assert left is False  # to the browser, which would open the file in place of the page
    browser.wait("#rows tr")
    assert text_of(browser, "#files-chosen") == "Week.CSV: 1 row, 0 pictures"
    assert not browser.find("#preview")[0].is_displayed()


def test_csv_files_are_read_and_written_as_others_do(browser: "Browser", address: str) -> None:
    browser.open(address + "/")
    cells = [
        "",
        "a",
        'say "a, b"',
        "two\nlines",
        "=1+1",
        "+x",
        "-x",
        "@x",
        "\tx",
        "-5",
        "+1.5",
        "'=1",
    ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([cells, ["next"], ["", ""]])
    script = """
        const [cells, text, done] = arguments;
        import("/csv.js").then((csv) => done([csv.format([cells, [0.25, -1e-9, 3]]), csv.parse(text)]));
    """
    written, read = browser.driver.execute_async_script(script, cells, out.getvalue())
    harmless = [f"'{each}" if each in ("=1+1", "+x", "-x", "@x", "\tx") else each for each in cells]
    assert list(csv.reader(io.StringIO(written))) == [harmless, ["0.250000", "-0.000000", "3"]]
    reader = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert [(each["line"], each["fields"]) for each in read] == [
        (reader.line_num, row) for row in reader
    ]


def test_reading_can_be_stopped_and_goes_on(
    browser: "Browser", address: str, tmp_path: Path
) -> None:
    (tmp_path / "many.csv").write_text("text\n" + "good day\n" * 300, encoding="utf-8")
    browser.open(address + "/")
    choose(browser, [tmp_path / "many.csv"])
    # By keyboard: what is pressed next has the focus.
    browser.find("#start")[0].send_keys("\n")
    browser.driver.switch_to.active_element.send_keys("\n")
    wait_for(browser, "#rows-heard", "Stopped.")
    assert browser.driver.switch_to.active_element.get_attribute("id") in ("download", "forget")
    assert sum(bool(row[3]) for row in shown_rows(browser)) < 300
    read_all(browser)
    assert text_of(browser, "#counted") == "300 of 300 rows read"
    browser.find("#forget")[0].click()
    assert not browser.find("#many")[0].is_displayed()
    assert browser.console_errors() == []


def test_with_a_token_the_page_asks_for_it_and_keeps_it_nowhere(
    browser: "Browser", predictor: Predictor, week: list[Path]
) -> None:
    with serving(predictor, Access(token="s3cret")) as address:
        browser.open(address + "/")
        browser.wait("#token-row:not([hidden])")
        ask(browser, text=TEXT)
        browser.wait("#alert:not([hidden])")
        assert text_of(browser, "#alert").startswith("no token, or not the one")
        choose(browser, week)
        browser.find("#start")[0].click()
        browser.wait("#files-alert:not([hidden])")
        browser.find("#token")[0].send_keys("s3cret")
        ask(browser, text=TEXT)
        browser.wait("#result:not([hidden])")
        check_shown(browser, predictor.predict(text=TEXT))
        read_all(browser)
        browser.open(address + "/")
        kept = "return [document.cookie, localStorage.length, sessionStorage.length]"
        assert browser.driver.execute_script(kept) == ["", 0, 0]
        assert browser.find("#token")[0].get_property("value") == ""


def test_the_policy_stops_what_the_page_does_not_need(browser: "Browser", address: str) -> None:
    browser.open(address + "/")
    blocked = browser.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1], found = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          found.push(event.effectiveDirective);
          if (found.length === 3) done(found.sort());
        });
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        fetch("http://localhost:1/").catch(() => {});
        const image = document.createElement("img");
        image.src = "http://localhost:1/x.png";
        document.body.append(image);
        """
    )
    assert blocked == ["connect-src", "img-src", "script-src-elem"]
    assert browser.driver.execute_script("return window.ran === undefined")
