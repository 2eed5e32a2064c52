import random

import pytest

from sentifuse.data import text
from tests import encoded_texts
from tests.places import REAL_DATA, on_real_data

REAL_TEXTS = REAL_DATA / "data"


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        (b"plain", "plain"),
        (b"", ""),
        ("café 👍".encode(), "café 👍"),
        # Valid as UTF-8 and as GB18030: UTF-8 goes first.
        ("你好吗，".encode(), "你好吗，"),
        ("你好，今天".encode("gbk"), "你好，今天"),
        # Beyond GBK: four bytes.
        ("𠀀 ok".encode("gb18030"), "𠀀 ok"),
        # A lone 0xE9 in front of a space is neither UTF-8 nor GB18030.
        (b"caf\xe9 noir", "café noir"),
        (b"end\xe9", "endé"),
        (b"don\x92t \x93stop\x94\x85", "don’t “stop”…"),
        # No character of Windows-1252 is 0x81.
        (b"\x81 \xff", "\x81 ÿ"),
        ("開心".encode("big5"), "開心"),
        (b"\xff\xfeh\0i\0", "hi"),
        (b"\xfe\xff\0h\0i", "hi"),
        ("你好 👍".encode("utf-16"), "你好 👍"),
        # It starts like UTF-16, but has an odd number of bytes, or half a surrogate pair.
        (b"\xff\xfehi!", "ÿþhi!"),
        (b"\xff\xfe\0\xd8", "ÿþ\0Ø"),
    ],
)
def test_decodes_with_the_encoding_that_fits_best(raw: bytes, decoded: str) -> None:
    assert text.decode(raw) == decoded


@pytest.mark.parametrize(
    ("encoding", "wrong"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("utf-16", ()),
        ("gbk", ()),
        ("gb18030", ()),
        ("cp1252", ()),
        ("latin-1", ()),
        # They are common characters of GBK, too.
        ("big5", ("lunch with 媽媽", "生日快樂 happy birthday", "失望透頂")),
    ],
)
def test_short_texts_are_read_in_the_encoding_that_they_were_written_in(
    encoding: str, wrong: tuple[str, ...]
) -> None:
    own = [case for case in encoded_texts.cases() if case.encoding == encoding]
    assert len(own) > 5
    assert tuple(case.text for case in own if text.decode(case.raw) != case.text) == wrong


def test_no_detector_at_hand_reads_them_better() -> None:
    from_bytes = pytest.importorskip("charset_normalizer").from_bytes

    cases = list(encoded_texts.cases())
    own = sum(text.decode(case.raw) == case.text for case in cases)
    asked = ["utf_8", "utf_16", "gb18030", "big5", "cp1252"]
    found = [from_bytes(case.raw, cp_isolation=asked).best() for case in cases]
    theirs = sum(
        str(each) == case.text for each, case in zip(found, cases, strict=True) if each is not None
    )
    assert own > theirs


@pytest.mark.parametrize(
    ("raw", "readings"),
    [
        ("→".encode("gbk"), ["→", "¡ú"]),
        ("30℃".encode("gbk"), ["30℃", "30¡æ"]),
        ("don’t, café".encode("gbk"), ["don’t, café"]),
        ("don’t, café".encode("cp1252"), ["don’t, café"]),
        ("北京".encode("gbk"), ["北京"]),
        ("привет".encode("cp1251"), ["镳桠弪", "ïðèâåò"]),
        ("café".encode(), ["café"]),
        (b"plain", ["plain"]),
        (b"", [""]),
    ],
)
def test_in_doubt_there_is_a_second_reading(raw: bytes, readings: list[str]) -> None:
    assert text.readings(raw)[:2] == readings
    assert text.decode(raw) == readings[0]


def test_a_byte_order_mark_is_dropped() -> None:
    assert text.decode(b"\xef\xbb\xbfhello") == "hello"
    assert text.decode("\ufeffhello".encode("gb18030")) == "hello"


def test_only_a_leading_mark_is_dropped() -> None:
    assert text.decode("a\ufeffb".encode()) == "a\ufeffb"


def test_every_byte_decodes_to_a_character() -> None:
    assert all(len(text.decode(bytes([byte, 0x20]))) == 2 for byte in range(256))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "text empty"),
        (b" \n", "text empty"),
        ("\u3000\u00a0".encode(), "text empty"),
        (b"a\0b", "not text"),
        ("hi".encode("utf-16-le"), "not text"),
        (bytes(range(256)) * 4, "not text"),
        (b"\x01\x02\x03 abc", "not text"),
        (b"a" * (text.MAX_BYTES + 1), "text too long"),
    ],
)
def test_what_is_no_text_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(text.TextError) as caught:
        text.read(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "raw",
    [
        b"x",
        b"http://t.co/a",
        # Quotation marks and a dash of Windows.
        b"\x93so\x94 it goes\x85 caf\xe9",
        "long".encode("utf-16"),
        b"a" * text.MAX_BYTES,
        "👍".encode(),
        b"a\tb\r\nc\x0bd\x0ce",
    ],
)
def test_what_people_write_is_text(raw: bytes) -> None:
    assert text.read(raw) == text.decode(raw)


def test_bytes_of_a_generator_are_no_text() -> None:
    draw = random.Random(0)
    for size in (200, 1000):
        for _ in range(100):
            with pytest.raises(text.TextError):
                text.read(draw.randbytes(size))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("see http://t.co/AbC now", "see now"),
        ("see https://t.co/a?b=c#d", "see"),
        ("HTTP://T.CO/a", ""),
        ("go www.example.com/x today", "go today"),
        ("cut off: http:/…", "cut off: http:/…"),
        ("cut off: http://…", "cut off:"),
        ("cut off: http://t.…", "cut off:"),
        ("cut off http://t.co/aB…", "cut off"),
        # A link ends where it may.
        ("看 http://t.co/x1，太好看了！", "看 ，太好看了！"),
        ("http://t.co/x1太好看了", "太好看了"),
        ("今日 https://t.co/x1が好き", "今日 が好き"),
        ("http://t.co/x1😡", "😡"),
        ("“so bad http://t.co/x1”d", "“so bad ”d"),
        ('"http://t.co/x1"@bob hi', '" " hi'),
        ("www.x.com真的", "真的"),
        ("what http://t.co/x1!!", "what !!"),
        ("http://t.co/x1?", "?"),
        ("see (http://x.y/a_(b)?c=d&e=f!g), ok", "see ( ok"),
        ("www. is short", "www. is short"),
        ("httpd stays", "httpd stays"),
    ],
)
def test_urls_are_removed(raw: str, cleaned: str) -> None:
    assert text.clean(raw) == cleaned


@pytest.mark.parametrize(
    "raw", ["awww.cute", "awwwww...so sweet", "ewww.that"]
)  # fmt: skip
def test_a_drawn_out_word_is_no_url(raw: str) -> None:
    assert text.clean(raw) == raw


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("@bob hi", "hi"),
        ("hi @bob_2!", "hi !"),
        ("RT @bob: so true", "rt : so true"),
        ("@一起 go", "go"),
        ("@bob太好看了", "太好看了"),
        ("@josé hola", "hola"),
        ("@Иван привет", "привет"),
        ("mail a@b.org", "mail a@b.org"),
        ("5 @ 3", "5 @ 3"),
    ],
)
def test_mentions_are_removed_and_addresses_stay(raw: str, cleaned: str) -> None:
    assert text.clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("#Love it", "love it"),
        ("so #HappyDay", "so happyday"),
        ("#开心", "开心"),
        ("a#b", "ab"),
        ("# alone", "# alone"),
        ("we are #1", "we are 1"),
        ("#!", "#!"),
    ],
)
def test_hashtags_keep_their_word(raw: str, cleaned: str) -> None:
    assert text.clean(raw) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("i &lt;3 you &amp; me", "i <3 you & me"),
        ("&quot;so good&quot;", '"so good"'),
        ("it&#39;s &#x1F621;", "it's 😡"),
        ("a&nbsp;b&AMP;c", "a b&c"),
        ("&#64;bob &#35;Tag", "tag"),
        ("http://x.y/?a=1&amp;b=2 ok", "ok"),
        ("http://t.co/x&gt;", ">"),
        # What only looks like one stays.
        ("AT&T R&D salt&pepper", "at&t r&d salt&pepper"),
        ("&copyright &notit; &foo; &;", "&copyright &notit; &foo; &;"),
        ("me &amp you", "me &amp you"),
    ],
)
def test_entities_become_what_they_stand_for(raw: str, cleaned: str) -> None:
    assert text.clean(raw) == cleaned


@pytest.mark.parametrize(
    "raw", ["a  b", " a b ", "a\tb", "a\nb\n", "a\r\nb", "a\u00a0b", "a\u3000b", "A B"]
)
def test_white_space_is_folded_and_letters_lowered(raw: str) -> None:
    assert text.clean(raw) == "a b"


@pytest.mark.parametrize(
    "kept", ["!!! ??? ...", "😀😡 ❤️", "👨‍👩‍👧", ":-( ^_^", "“so” — ‘yes’…", "你好！"]
)
def test_emoji_and_punctuation_stay(kept: str) -> None:
    assert text.clean(kept) == kept


@pytest.mark.parametrize("raw", ["", "  \n", "http://t.co/x @bob", "@a @b"])
def test_nothing_may_be_left(raw: str) -> None:
    assert text.clean(raw) == ""


@pytest.mark.parametrize(
    "raw", ["RT @a: #Big News http://t.co/1 !", "a\u3000B", "##x y", "@@a b"]
)  # fmt: skip
def test_cleaned_text_has_no_url_mention_or_upper_case_left(raw: str) -> None:
    cleaned = text.clean(raw)
    assert cleaned == cleaned.lower()
    assert "http" not in cleaned
    assert cleaned == " ".join(cleaned.split())


ROBERTA = text.TextSpec(link="http", mention="@user", lower=False)
BERTWEET = text.TextSpec(link="HTTPURL", mention="@USER", lower=False)


@pytest.mark.parametrize(
    ("raw", "roberta", "bertweet"),
    [
        ("Hi @bob see http://t.co/a", "Hi @user see http", "Hi @USER see HTTPURL"),
        ("RT @Bob: #Big News", "RT @user : Big News", "RT @USER : Big News"),
        ("“@bob”", "“ @user ”", "“ @USER ”"),
        ("@bob太好看了", "@user 太好看了", "@USER 太好看了"),
        ("@a…@c", "@user … @user", "@USER … @USER"),
        ("“http://t.co/x1”d", "“ http ”d", "“ HTTPURL ”d"),
        ("http://t.co/x1@bob", "http", "HTTPURL"),
        ("http://t.co/x1”@bob!", "http ” @user !", "HTTPURL ” @USER !"),
        ("mail A@b.org", "mail A@b.org", "mail A@b.org"),
        # What happens to be a placeholder is what it says.
        ("http is not HTTPURL", "http is not HTTPURL", "http is not HTTPURL"),
        ("@user @USER", "@user @user", "@USER @USER"),
        ("", "", ""),
    ],
)
def test_placeholders_stand_for_links_and_mentions(raw: str, roberta: str, bertweet: str) -> None:
    assert text.clean(raw, ROBERTA) == roberta
    assert text.clean(raw, BERTWEET) == bertweet
    assert text.clean(roberta, ROBERTA) == roberta
    assert text.clean(bertweet, BERTWEET) == bertweet


def test_lower_casing_leaves_placeholders_as_they_are() -> None:
    spec = text.TextSpec(link="HTTPURL", mention="@USER")
    assert text.clean("Hi @Bob HTTPURL http://t.co/A", spec) == "hi @USER httpurl HTTPURL"


def test_no_step_takes_a_placeholder_for_a_part_of_the_text() -> None:
    spec = text.TextSpec(link="@link", mention="#www.Mention")
    assert text.clean("see http://t.co/a @Bob #Tag", spec) == "see @link #www.Mention tag"


def test_only_the_case_stays_if_only_that_is_asked_for() -> None:
    assert (
        text.clean("RT @Bob: So #Happy http://t.co/A", text.TextSpec(lower=False))
        == "RT : So Happy"
    )


@on_real_data
def test_real_texts_decode_without_replacement_characters_and_round_trip() -> None:
    paths = sorted(REAL_TEXTS.glob("*.txt"))
    assert len(paths) > 4000
    used: set[str] = set()
    for path in paths:
        raw = path.read_bytes()
        decoded = text.decode(raw)
        encoding = "utf-8" if _fits(raw, "utf-8") else "gb18030"
        used.add(encoding)
        assert text.read(raw) == decoded
        # Nothing was replaced or lost: the text encodes to the bytes that it came from.
        assert decoded.encode(encoding) == raw.removeprefix(b"\xef\xbb\xbf"), path.name
        assert text.clean(decoded).count("\ufffd") <= raw.count(b"\xef\xbf\xbd"), path.name
    assert used == {"utf-8", "gb18030"}


def _fits(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
