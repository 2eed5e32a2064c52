"""A text as people wrote it -> its words, for explanations: encoders have tokenizers of their own."""

import re
from collections.abc import Sequence

from sentifuse.data.text import ENTITY, MENTION, URL

# First and last character, as of a slice.
Span = tuple[int, int]

# Classes of characters, as they stand between square brackets. `re` has none for them; these are ranges that
# hold nearly all of each kind.
_EMOJI = "\u203c\u2049\u2122-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_LOOK = "\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
_IDEOGRAPH = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KATAKANA = "\u30a0-\u30ff\uff66-\uff9f"
_SIGN = (
    r"!-/:-@\[-^`{-~\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u2000-\u200b\u200e-\u206f"
    r"\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_LETTER = rf"[^\s{_SIGN}{_EMOJI}{_LOOK}{_IDEOGRAPH}{_KATAKANA}]"
_ONE_EMOJI = (
    "(?:[\U0001f1e6-\U0001f1ff]{2}|[0-9#*]\ufe0f?\u20e3|"
    f"[{_EMOJI}][{_LOOK}]*(?:\u200d[{_EMOJI}][{_LOOK}]*)*)"
)
_NO_SIGNS = (
    f"(?ai:{URL.pattern})|{MENTION.pattern}|(?i:{ENTITY.pattern})|{_ONE_EMOJI}"
    rf"|\#[^\s{_SIGN}{_EMOJI}]+"
    f"|[{_IDEOGRAPH}]|[{_KATAKANA}]+"
    f"|{_LETTER}+(?:['\u2019-]{_LETTER}+)*"
)
# A run of the same emoji is one word: without one of three the other two say the same.
_WORD = re.compile(rf"(?P<emoji>{_ONE_EMOJI})(?P=emoji)+|{_NO_SIGNS}|(?:(?!{_NO_SIGNS})\S)+")
_STANDS_ALONE = re.compile(f"[{_IDEOGRAPH}{_KATAKANA}]+")


def spans(text: str, most: int) -> list[Span]:
    """Where the words of `text` stand, in order; between them is white space or nothing.

    A link, a mention, a hashtag, an emoji (or a run of the same one) and a run of punctuation are words, too.
    Each Chinese character and each hiragana is a word, as most tokenizers have it; so is a run of katakana.
    Thai and other scripts without spaces between words give one word from space to space.

    Args:
        text: any text.
        most: how many words there may be, 1 or more. Of a longer text neighbours are taken together.
    """
    found = [match.span() for match in _WORD.finditer(text)]
    size = -(-len(found) // most)
    return [
        (found[start][0], found[min(start + size, len(found)) - 1][1])
        for start in range(0, len(found), size or 1)
    ]


def without(text: str, left_out: Sequence[Span]) -> str:
    """`text` without some of its words, given in their order; words beside them do not grow together."""
    kept, end = [], 0
    for start, stop in left_out:
        kept += [text[end:start], "" if _STANDS_ALONE.fullmatch(text, start, stop) else " "]
        end = stop
    return "".join([*kept, text[end:]])
