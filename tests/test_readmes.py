"""Both READMEs say the same and are short; the links of all pages lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.places import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "results.md"]
ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
)


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def rows(text: str) -> list[str]:
    """The figures of each row of a table, without its name."""
    lines = [line for line in text.splitlines() if re.match(r"^\|.*\.\d", line)]
    return [line.split("|", 2)[2] for line in lines]


def test_its_blocks_are_those_of_the_english_one() -> None:
    assert len(blocks(CHINESE)) > 5
    assert blocks(CHINESE) == blocks(ENGLISH)


def test_its_figures_are_those_of_the_english_one() -> None:
    assert len(rows(CHINESE)) == 5
    assert rows(CHINESE) == rows(ENGLISH)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_it_is_short(text: str) -> None:
    assert len(text.splitlines()) <= 140


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
