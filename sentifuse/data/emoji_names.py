"""Emoji in texts, and their English names for tokenizers that do not know them."""

import functools
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

# All characters that emoji are made of, and more: those of ASCII are for keycaps. A class of just the right
# ones would be slow, as `re` looks through its ranges one by one.
_PERHAPS_EMOJI = re.compile("[#*0-9\x80-\U0010ffff]+")
_JOINER = "\u200d"
# What joins emoji, chooses between a sign's look as text and as emoji, or spells out the region of a flag. It
# says nothing once the emoji in front of it is words.
_EMOJI_GLUE = frozenset([_JOINER, "\ufe0e", "\ufe0f", *map(chr, range(0xE0020, 0xE0080))])
# Emoji to the library, but signs in nearly all texts.
_SIGNS = frozenset("©®™")


def unknown(has_unknown: Callable[[list[str]], Sequence[bool]]) -> frozenset[str]:
    """The emoji that a tokenizer does not know, of all that the library `emoji` has (some five thousand).

    Args:
        has_unknown: Says for each of some texts whether the tokenizer gives an unknown token in it. It is
            called once.

    Raises:
        ValueError: `has_unknown` gave more or fewer answers than it got texts.
    """
    every = list(installed().names)
    # Between letters, as in `love😍`: WordPiece makes a whole word unknown for one character in it, and it
    # may know a character at the start of a word only.
    answers = has_unknown([f"a{each}a" for each in every])
    return frozenset(each for each, is_unknown in zip(every, answers, strict=True) if is_unknown)


class Emoji(NamedTuple):
    """All emoji that there are."""

    names: Mapping[str, str]  # English, in words: `smiling face with heart-eyes`
    longest: int  # characters of the longest emoji

    @classmethod
    def of(cls, names: Mapping[str, str]) -> "Emoji":
        """Those that have `names`."""
        return cls(names, max(map(len, names), default=0))


def present(text: str) -> bool:
    """Whether `text` has an emoji; `©`, `®` and `™` are signs and do not count."""
    emoji = installed()
    known = emoji.names.keys() - _SIGNS
    return any(
        piece in known for run in _PERHAPS_EMOJI.findall(text) for piece in _pieces(run, emoji)
    )


def in_words(text: str, unknown: Collection[str], emoji: Emoji | None = None) -> str:
    """`text` with names, and spaces around them, in place of its emoji that are in `unknown`.

    `emoji` are all that there are; None for those of the library `emoji`.
    """
    emoji = emoji or installed()
    names = emoji.names

    def named_pieces(run: re.Match[str]) -> str:
        pieces: list[str] = []
        named = False
        for piece in _pieces(run[0], emoji):
            if piece in names and piece in unknown:
                if pieces and pieces[-1] == _JOINER:
                    pieces.pop()
                pieces.append(f" {names[piece]} ")
                named = True
            elif not (named and piece in _EMOJI_GLUE):
                pieces.append(piece)
                named = False
        return "".join(pieces)

    return _PERHAPS_EMOJI.sub(named_pieces, text)


@functools.cache
def installed() -> Emoji:
    """The emoji that the library `emoji` has."""
    import emoji  # takes its time, and few encoders need it

    return Emoji.of({each: _plain(known["en"]) for each, known in emoji.EMOJI_DATA.items()})


def _plain(name: str) -> str:
    """`:smiling_face:` -> `smiling face`, in ASCII, which every tokenizer has tokens for."""
    spaced = name.replace(":", " ").replace("_", " ").replace("\u2019", "'").strip()
    return unicodedata.normalize("NFKD", spaced).encode("ascii", "ignore").decode()


def _pieces(run: str, emoji: Emoji) -> Iterator[str]:
    """The emoji of `run`, each as long as can be, and its other characters one by one.

    So a sequence that is no emoji of the library's, such as a family that nobody has drawn yet, comes in
    parts. The library's own `analyze` would not do: it misses emoji in some such sequences (the flag in the
    first half of England's), its time grows with the square of their length, and it drops variation selectors
    of other signs.
    """
    known, longest = emoji
    start = 0
    while start < len(run):
        ends = range(min(start + longest, len(run)), start, -1)
        end = next((end for end in ends if run[start:end] in known), start + 1)
        yield run[start:end]
        start = end
