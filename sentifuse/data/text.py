"""Bytes of a tweet -> clean text."""

import codecs
import html
import re
from collections.abc import Collection
from dataclasses import dataclass
from html.entities import html5
from typing import ClassVar, Literal

from sentifuse.data import emoji_names
from sentifuse.data.emoji_names import Emoji

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Of a text file. A tweet has a few hundred bytes, and encoders read the first hundred tokens or so.
MAX_BYTES = 2**16
# Share of control characters above which it is no text; of random bytes they are an eighth. Most of
# 0x80..0x9F are not among them: they are Windows' quotation marks and dashes.
_MAX_CONTROLS = 0.05
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\x81\x8d\x8f\x90\x9d]")

# What does not decode as UTF-8 decodes in several ways. In each of these patterns the group is a character,
# or a run of them, that people often write in that encoding, and the rest of the pattern is any other.
_USUAL = {
    # Signs, Greek, kana, Cyrillic, the common half of the Chinese characters, and all of four bytes. A
    # Chinese character alone between ASCII letters is not usual: its bytes are two accented letters.
    "gb18030": re.compile(
        rb"([\xa1-\xa9][\xa1-\xfe]|\xa8[\x40-\x95]|\xa9[\\`]|[\x81-\xfe][0-9][\x81-\xfe][0-9]"
        rb"|[\xb0-\xd7][\xa1-\xfe](?![A-Za-z])|(?<![A-Za-z])[\xb0-\xd7][\xa1-\xfe])"
        rb"|[\x81-\xfe][\x40-\xfe]"
    ),
    # L: one accented letter, or two beside an ASCII one (A). Q: quotation marks and dashes. S: a sign, and B
    # one that stands before a word. H: all that is not ASCII.
    "cp1252": re.compile(
        rb"(?<!H)(?=H)(Q{0,3}(?:S?(?:L|(?<=A)LL|LL(?=A))(?:S(?!A))?|(?<!A)B(?=A)|\xb0(?=[CF])|S(?!A)|)Q{0,3})(?!H)|H+".replace(
            b"H", rb"[\x80-\xff]"
        )
        .replace(b"A", rb"[a-zA-Z]")
        .replace(b"Q", rb"[\x80\x82-\x89\x8b\x91-\x99\x9b]")
        .replace(b"L", rb"[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xd6\xd8-\xf6\xf8-\xff]")
        .replace(b"S", rb"[\xa0-\xa3\xa5\xa7\xa9-\xab\xae\xb0-\xb7\xb9-\xbf]")
        .replace(b"B", rb"[\xa1\xa3\xa9\xab\xbf]")
    ),
    # Signs and the common half of the characters.
    "big5": re.compile(rb"([\xa1-\xc6][\x40-\x7e\xa1-\xfe])|[\xc7-\xf9][\x40-\xfe]"),
}
# Half of the common characters of GBK are common ones of Big5, too. Of the two, GBK is met more often.
_WEIGHTS = {"gb18030": 1.0, "cp1252": 1.0, "big5": 0.7}
# A second reading that is nearly as usual as the best is worth a look; so is any if the best is not usual.
_DOUBT, _SURE = 0.75, 0.5
# Characters that few fonts have: what they decode to is rather something else.
_PRIVATE = re.compile("[\ue000-\uf8ff]")

ENTITY = re.compile("&(#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
# A link ends before characters that links do not have, such as Chinese, emoji and quotation marks, and before
# the `!` or `?` of its sentence. Tweets that were cut off end in half a link with an ellipsis.
URL = re.compile(
    r"(?:https?://|\bwww\.(?=[a-z0-9]))(?:[\w\-.~:/?#\[\]@!$&'()*+,;=%]*[\w\-.~:/#\[\]@$&()*+,;=%])?…?",
    re.IGNORECASE | re.ASCII,
)
# The name of a mention does not run on from Latin letters into Chinese.
MENTION = re.compile("(?<!\\w)@(?:[^\\W\u2e80-\U0010ffff]+|\\w+)")
_HASHTAG = re.compile(r"#(?=\w)")


class TextError(ValueError):
    """Bytes that are no text to work with; `reason` says why in the same words for all files alike."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read(raw: bytes) -> str:
    """`decode`, strictly.

    Raises:
        TextError: `raw` is longer than `MAX_BYTES`, has nothing but white space, or is binary: it has NUL
            characters (as UTF-16 without its mark has) or mostly characters that nobody writes.
    """
    if len(raw) > MAX_BYTES:
        raise TextError("text too long", f"more than {MAX_BYTES} bytes")
    text = decode(raw)
    if not text.strip():
        raise TextError("text empty", f"{len(raw)} bytes")
    if "\0" in text:
        raise TextError("not text", "it has NUL characters")
    controls = len(_CONTROL.findall(text))
    if controls > _MAX_CONTROLS * len(text):
        raise TextError("not text", f"{controls} of {len(text)} characters are control characters")
    return text


def decode(raw: bytes) -> str:
    """The first of `readings`."""
    return readings(raw)[0]


def readings(raw: bytes) -> list[str]:
    """How `raw` can be read, without its byte order mark: the best first, then those that are nearly as good.

    UTF-16 has its mark, and UTF-8 has rules which other texts hardly ever keep. Else GB18030 (which GBK is
    a part of), Windows-1252 and Big5 are tried, and the best is the one with the largest share of usual
    characters. What none of them decodes is read as Latin-1, so this never fails. On the short texts of
    `tests/encoded_texts.py` it is right more often than charset-normalizer and chardet.
    """
    marked = raw.startswith(_UTF16_MARKS)
    for encoding in ("utf-16", "utf-8") if marked else ("utf-8",):
        try:
            return [raw.decode(encoding).removeprefix("\ufeff")]
        except UnicodeDecodeError:
            continue
    scores: dict[str, float] = {}
    for encoding, usual in _USUAL.items():
        try:
            text = raw.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
        found = [(len(each[0]), len(each[1] or b"")) for each in usual.finditer(raw)]
        share = sum(good for _, good in found) / max(1, sum(size for size, _ in found))
        scores[text] = _WEIGHTS[encoding] * share * (0.5 if _PRIVATE.search(text) else 1)
    scores.setdefault(raw.decode("latin-1"), 0.0)
    # The sort is stable: of equal scores, the encoding that was tried first stays first.
    ranked = sorted(scores, key=lambda text: -scores[text])
    best = scores[ranked[0]]
    least = _DOUBT * best if best >= _SURE else 0.0
    return [text for text in ranked if scores[text] >= least]


@dataclass(frozen=True)
class TextSpec:
    """How an encoder wants its texts: as those were that it was trained on.

    The default is for encoders of plain English. What stands for a link or a mention is always a word of its
    own, and its case stays as it is here.

    Attributes:
        link: What stands for a link; the empty string removes links. The Twitter models of cardiffnlp have
            `http`, and BERTweet has `HTTPURL`.
        mention: What stands for an @mention; the empty string removes mentions. The same models have `@user`
            and `@USER`.
        lower: Whether texts are lower-cased, as uncased tokenizers do anyway.
        emoji: `words` turns an emoji that the tokenizer does not know into its English name, and `keep`
            leaves it.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # as it stands beside the features
    link: str = ""
    mention: str = ""
    lower: bool = True
    emoji: Literal["keep", "words"] = "keep"

    def words(self) -> str:
        """What is done to a text, for people."""
        links, mentions = (
            f"become `{own}`" if own else "are removed" for own in (self.link, self.mention)
        )
        case = "lower case" if self.lower else "case stays"
        emoji = (
            "those that its tokenizer does not know become words"
            if self.emoji == "words"
            else "stay"
        )
        return f"links {links}, mentions {mentions}, {case}, emoji: {emoji}"


_PLAIN = TextSpec()


def clean(
    text: str,
    spec: TextSpec = _PLAIN,
    unknown: Collection[str] = frozenset(),
    emoji: Emoji | None = None,
) -> str:
    """Gives `text` as an encoder wants it; of `#Tag` keeps `Tag`, and folds white space.

    Entities of HTML, such as `&amp;`, become what they stand for. Punctuation and emoji stay, if only by
    name: they carry sentiment. A word of the text that happens to be a placeholder, such as `http`, stays,
    too. The result may be empty.

    Args:
        text: Any text.
        spec: How the encoder wants its texts.
        unknown: The emoji that its tokenizer does not know, as `emoji_names.unknown` finds them; they matter
            only if `spec.emoji` is `words`.
        emoji: All emoji that there are; None for those of the library `emoji`.
    """
    text = ENTITY.sub(_character, text)
    if spec.emoji == "words" and unknown:
        # First of all: a mention or a link would take the digit of a keycap emoji behind it for its own.
        text = emoji_names.in_words(text, unknown, emoji)
    # The text is split rather than replaced in, so that no step takes a placeholder for a part of the text.
    parts = [
        f" {spec.mention} ".join(_own_words(own, spec) for own in MENTION.split(part))
        for part in URL.split(text)
    ]
    return " ".join(f" {spec.link} ".join(parts).split())


def _own_words(text: str, spec: TextSpec) -> str:
    # `text` is what is left without links and mentions.
    text = _HASHTAG.sub("", text)
    return text.lower() if spec.lower else text


def _character(entity: re.Match[str]) -> str:
    # `html.unescape` alone would take the `&not` of `&notit;` for one.
    name = entity[1]
    return html.unescape(entity[0]) if name.startswith("#") else html5.get(f"{name};", entity[0])
