import pytest

from sentifuse.data import language

KNOWN = {
    "en": "such a beautiful evening with my best friends, i love this city",
    "fr": "quelle belle soirée avec mes meilleurs amis, j'adore cette ville",
    "ja": "とりあえず出来ましたーなんかゲームの一場面的な感じに",
    "zh": "今天天气真好，我们一起去公园散步吧",
    "ru": "и как говорил мой дорогой товарищ о погоде",
}


def test_plain_sentences_are_told_apart() -> None:
    assert language.guesses(KNOWN.values()) == list(KNOWN)


@pytest.mark.parametrize("text", ["", "?", "…", "ok", "???? ?? ????", "$175", "cr.logo", "😀"])
def test_what_is_too_short_or_no_language_has_none(text: str) -> None:
    assert language.guesses([text]) == [""]


def test_headlines_in_english_are_not_taken_for_pidgin() -> None:
    headline = "justin bieber's sex life with selena gomez gets destroyed..."
    assert language.guesses([headline]) == ["en"]


def test_no_text_has_no_guess() -> None:
    assert language.guesses([]) == []
