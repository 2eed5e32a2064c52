from pathlib import Path

import pytest
from jinja2 import UndefinedError

from sentifuse.runtime import templates


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "page.j2"
    path.write_text("<b>{{ name | twice }}</b>\n", encoding="utf-8")
    return path


def twice(text: str) -> str:
    return 2 * text


def test_html_is_escaped_and_other_text_is_not(path: Path) -> None:
    page, card = (
        templates.load(path, html=each, filters={"twice": twice}) for each in (True, False)
    )
    assert page.render(name="<") == "<b>&lt;&lt;</b>"
    assert card.render(name="<") == "<b><<</b>\n"


def test_a_name_that_is_not_given_is_an_error(path: Path) -> None:
    template = templates.load(path, html=True, filters={"twice": lambda text: text})
    with pytest.raises(UndefinedError, match="'name' is undefined"):
        template.render()
