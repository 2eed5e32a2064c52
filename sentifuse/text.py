"""Bytes of a tweet -> clean text."""

import re

# The corpus mixes encodings. UTF-8 is strict enough to go first; GB18030 is a superset of GBK;
# Latin-1 decodes anything, so it is the last resort.
ENCODINGS = ("utf-8", "gb18030", "latin-1")

_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<!\w)@\w+")
_HASHTAG = re.compile(r"#(?=\w)")


def decode(raw: bytes) -> str:
    """Decodes with the first of `ENCODINGS` that fits; drops a byte order mark."""
    for encoding in ENCODINGS:
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
