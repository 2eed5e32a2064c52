"""The Chinese README says nothing that the English one does not."""

import re

from tests.places import ROOT

ENGLISH, CHINESE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
)


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def rows(text: str) -> list[str]:
    """The figures of each row of a table, without its name."""
    lines = [line for line in text.splitlines() if re.match(r"^\|.*\.\d", line)]
    return [line.split("|", 2)[2] for line in lines]


def test_its_commands_are_those_of_the_english_one() -> None:
    assert len(blocks(CHINESE)) > 10
    assert [block for block in blocks(CHINESE) if block not in blocks(ENGLISH)] == []


def test_its_figures_are_those_of_the_english_one() -> None:
    assert len(rows(CHINESE)) == 8
    assert [row for row in rows(CHINESE) if row not in rows(ENGLISH)] == []


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", CHINESE)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
