"""Properties of text decoding and cleaning, for whatever bytes and letters."""

import string
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentifuse.data import text

WORDS = st.text(st.sampled_from(string.ascii_letters + "äé你👍"), min_size=1, max_size=8)
PIECES = st.one_of(
    st.text(max_size=20),
    WORDS,
    WORDS.map("http://t.co/{}".format),
    WORDS.map("www.{}.com/a?b=c".format),
    WORDS.map("@{}".format),
    WORDS.map("#{}".format),
    st.sampled_from(["\n", "\t", " ", "\u3000", "…", "RT", "!", "@", "#", "http://", "\ufeff"]),
)
TWEETS = st.lists(PIECES, max_size=12).map("".join)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"])


@given(st.binary(max_size=400))
@example(b"\xff\xfe")
@example(b"\xff\xfe\x00")
@example(b"\xfe\xff\xd8\x00")
def test_every_bytes_are_decoded(raw: bytes) -> None:
    decoded = text.decode(raw)
    assert len(decoded) <= len(raw)
    text.clean(decoded)


@given(st.binary(max_size=400))
def test_bytes_are_read_or_refused_with_a_reason(raw: bytes) -> None:
    found, reason = None, None
    try:
        found = text.read(raw)
    except text.TextError as error:
        reason = error.reason
    assert reason in (None, "text empty", "not text", "text too long")
    if found is not None:
        assert found == text.decode(raw)
        assert "\0" not in found
        assert found.strip()


@given(TWEETS, ENCODINGS)
def test_what_was_written_in_an_encoding_with_a_mark_or_in_utf8_is_read_back(
    tweet: str, encoding: str
) -> None:
    written = tweet.lstrip("\ufeff")
    if encoding == "gb18030" and not written.isascii():
        return  # most but not all of it can be told from UTF-8
    assert text.decode(written.encode(encoding)) == written


@given(TWEETS)
def test_cleaning_twice_cleans_as_much_as_once_but_for_what_cleaning_laid_bare(tweet: str) -> None:
    once = text.clean(tweet)
    assert once == " ".join(once.split())
    # Taking `#` away can lay bare a mention or a URL, and so on: each time something gets shorter.
    seen, now = len(once) + 1, once
    while len(now) < seen:
        seen, now = len(now), text.clean(now)
    assert text.clean(now) == now


@given(st.lists(WORDS, min_size=1))
def test_plain_words_come_through_in_lower_case(words: list[str]) -> None:
    assert text.clean("  ".join(words)) == " ".join(words).lower()


@given(
    TWEETS,
    st.text(st.sampled_from(string.ascii_letters + "_1"), min_size=1),
    st.text(st.sampled_from("你好！😡“”é"), max_size=3),
)
def test_urls_and_mentions_leave_what_is_behind_them(tweet: str, word: str, behind: str) -> None:
    for added in (f"http://t.co/{word}", f"https://{word}", f"www.{word}"):
        assert text.clean(f"{tweet} {added}{behind}") == text.clean(f"{tweet} {behind}")
    for name in (word, f"{word}é", "你好"):
        assert text.clean(f"{tweet} @{name} {behind}") == text.clean(f"{tweet} {behind}")


SPECS = st.builds(
    text.TextSpec,
    link=st.sampled_from(["", "http", "HTTPURL"]),
    mention=st.sampled_from(["", "@user", "@USER"]),
    lower=st.booleans(),
)


@given(TWEETS, SPECS)
def test_a_link_or_mention_behind_a_text_becomes_what_the_encoder_wants_for_it(
    tweet: str, spec: text.TextSpec
) -> None:
    cleaned = text.clean(tweet, spec)
    assert cleaned == " ".join(cleaned.split())
    for written, placeholder in (("https://t.co/aB1", spec.link), ("@Bob_1", spec.mention)):
        assert text.clean(f"{tweet} {written}", spec) == f"{cleaned} {placeholder}".strip()


@given(TWEETS, SPECS)
def test_encoders_that_differ_in_case_alone_read_the_same_words(
    tweet: str, spec: text.TextSpec
) -> None:
    cased, lower = (text.clean(tweet, replace(spec, lower=lower)) for lower in (False, True))
    assert cased.lower() == lower.lower()


@pytest.mark.parametrize(
    "piece",
    ["http://", "&amp;", "http://!", "www.a", "@a", "#", "www.", "@", " @a#b", "\u3000", "a@b."],
)
def test_long_texts_take_time_in_proportion_to_their_length(piece: str) -> None:
    # Half a second of work, if it is in proportion; hours if it grows with the square.
    script = "import sys; from sentifuse.data import text; text.clean(sys.argv[1] * 500_000)"
    subprocess.run([sys.executable, "-c", script, piece], check=True, timeout=300)
