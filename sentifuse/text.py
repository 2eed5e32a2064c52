"""Bytes of a tweet -> clean text."""

import codecs
import re

# The corpus mixes encodings. UTF-8 is strict enough to go first; GB18030 is a superset of GBK;
# Latin-1 decodes anything, so it is the last resort.
ENCODINGS = ("utf-8", "gb18030", "latin-1")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

# Of a text file. A tweet has a few hundred bytes, and encoders read the first hundred tokens or so.
MAX_BYTES = 2**16
# Share of control characters above which it is no text; of random bytes they are an eighth. Most of
# 0x80..0x9F are not among them: they are Windows' quotation marks and dashes.
_MAX_CONTROLS = 0.05
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f\x81\x8d\x8f\x90\x9d]")

_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w+")
_HASHTAG = re.compile(r"#(?=\w)")


class TextError(ValueError):
    """Bytes that are no text to work with.

    Attributes:
        reason: what is wrong, the same words for all files alike.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        """Takes the reason, and what was found: the message."""
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
    """Decodes UTF-16 by its byte order mark, else with the first of `ENCODINGS` that fits.

    Drops the mark. Never fails: what no other encoding fits is Latin-1.
    """
    for encoding in ("utf-16", *ENCODINGS) if raw.startswith(_UTF16_MARKS) else ENCODINGS:
        try:
            return raw.decode(encoding).removeprefix("\ufeff")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def clean(text: str) -> str:
    """Removes URLs and @mentions, keeps `#Tag` as `tag`, folds white space, lower-cases.

    Punctuation and emoji stay: they carry sentiment. The result may be empty.
    """
    text = _URL.sub(" ", text)
    text = _MENTION.sub(" ", text)
    text = _HASHTAG.sub("", text)
    return " ".join(text.split()).lower()
