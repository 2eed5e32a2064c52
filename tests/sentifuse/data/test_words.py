import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentifuse.data import words

MOST = 1000


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in words.spans(text, MOST)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What a day, really!!!", ["What", "a", "day", ",", "really", "!!!"]),
        ("can't well-known it’s", ["can't", "well-known", "it’s"]),
        ("RT @a_b: #TopDay #天气好", ["RT", "@a_b", ":", "#TopDay", "#天气好"]),
        ("love😍you 😍😍😡", ["love", "😍", "you", "😍😍", "😡"]),
        ("👍🏽👨‍👩‍👧🇩🇪1️⃣", ["👍🏽", "👨‍👩‍👧", "🇩🇪", "1️⃣"]),
        ("天气真好, テレビを見る", ["天", "气", "真", "好", ",", "テレビ", "を", "見", "る"]),
        ("see http://t.co/x1... ok&amp;fine :)", ["see", "http://t.co/x1...", "ok", "&amp;", "fine", ":)"]),
        ("हिन्दी में 안녕하세요 สวัสดี", ["हिन्दी", "में", "안녕하세요", "สวัสดี"]),
        ("no!#Fun (@bob) 3.5", ["no", "!", "#Fun", "(", "@bob", ")", "3", ".", "5"]),
        (" \n ", []),
    ],
)  # fmt: skip
def test_words_links_tags_and_emoji_are_words(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.text())
def test_between_words_is_white_space_or_nothing(text: str) -> None:
    found = words.spans(text, MOST)
    assert not words.without(text, found).strip()
    assert all(start < end for start, end in found)
    assert [place for span in found for place in span] == sorted(
        place for span in found for place in span
    )


def test_neighbours_of_a_long_text_are_taken_together() -> None:
    text = "a b c d e"
    assert [text[start:end] for start, end in words.spans(text, 2)] == ["a b c", "d e"]
    assert words.spans(text, 1) == [(0, 9)]


def test_words_beside_a_gap_do_not_grow_together() -> None:
    assert words.without("day.Thanks", [(3, 4)]) == "day Thanks"
    assert words.without("天气好", [(1, 2)]) == "天好"
    assert words.without("not so bad", [(0, 3), (7, 10)]) == "  so  "
    assert words.without("as it was", []) == "as it was"
