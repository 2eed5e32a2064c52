"""Raw texts -> token ids, as a text encoder was trained to read them."""

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sentifuse.data import emoji_names, text
from sentifuse.data.text import TextSpec
from sentifuse.encoders.families import Family
from sentifuse.encoders.pretrained import Place
from sentifuse.errors import UserError

# Where texts are cut if neither the model nor its tokenizer says.
_MAX_TOKENS = 512
# A tokenizer without its files has its special tokens only.
_FEWEST_TOKENS = 32


class Tokenizer:
    """Cleans and tokenizes.

    Attributes:
        spec: how links, mentions, case and emoji are treated.
        max_tokens: where a text is cut, special tokens included.
        description: all that decides on the ids, for a fingerprint.
    """

    def __init__(self, tokenizer: Any, spec: TextSpec, max_tokens: int, pads: bool) -> None:
        """Takes a tokenizer of `transformers`.

        Args:
            tokenizer: the tokenizer.
            spec: as the attribute; whether emoji become words is found out here.
            max_tokens: as the attribute.
            pads: whether texts are filled up to `max_tokens` with padding that the encoder sees.
        """
        # Before its first use, which changes its settings.
        described = _described(tokenizer)
        self._tokenizer, self._pads, self.max_tokens = tokenizer, pads, max_tokens
        self._unknown = emoji_names.unknown(self._has_unknown)
        self.spec = replace(spec, emoji="words" if self._unknown else "keep")
        self.description = f"{described} {self.spec} {max_tokens} {pads}"

    def __call__(self, texts: list[str]) -> list[list[int]]:
        """N texts as people wrote them -> N lists of ids, none of them empty."""
        cleaned = [text.clean(each, self.spec, self._unknown) for each in texts]
        encoded = self._tokenizer(
            cleaned,
            truncation=True,
            max_length=self.max_tokens,
            padding="max_length" if self._pads else False,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    @property
    def unknown_emoji(self) -> Collection[str]:
        """The emoji that it does not know."""
        return self._unknown

    @property
    def end(self) -> int | None:
        """The token behind which a text is cut; None for no such token."""
        return None

    def portable(self) -> str | None:
        """The tokenizer as the library `tokenizers` reads it; None for one that is written in Python.

        It holds where texts are cut and whether they are padded, but not how they are cleaned.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        self(["a"])  # its first use sets where it cuts and pads
        return None if backend is None else str(backend.to_str())

    def _has_unknown(self, texts: list[str]) -> list[bool]:
        unknown = self._tokenizer.unk_token_id
        if unknown is None:
            return [False] * len(texts)
        # CLIP's unknown token is its end-of-text token, which stands behind every text.
        encoded = self._tokenizer(texts, add_special_tokens=False)
        return [unknown in ids for ids in encoded["input_ids"]]


class EndingTokenizer(Tokenizer):
    """One for encoders that pool at the first end-of-text token: texts end there."""

    @property
    def end(self) -> int:
        """The end-of-text token."""
        return int(self._tokenizer.eos_token_id)

    def __call__(self, texts: list[str]) -> list[list[int]]:
        # A text may spell out the end-of-text token.
        return [ids[: ids.index(self.end) + 1] for ids in super().__call__(texts)]


def load(
    place: Place,
    config: Any,
    family: Family | None,
    max_tokens: int | None,
    spec: TextSpec | None = None,
) -> Tokenizer:
    """Loads the tokenizer of a text model.

    Args:
        place: of the model.
        config: of the text model.
        family: of the model, if it has one.
        max_tokens: where its authors cut texts; None if they do not say.
        spec: how it reads texts; None for what its name and files say.

    Raises:
        UserError: no tokenizer, or not the one of these weights.
    """
    from transformers import AutoTokenizer

    with place.fetching("the tokenizer's files"):
        tokenizer = AutoTokenizer.from_pretrained(place.repository, revision=place.revision)
    _check(place.source, tokenizer, config.vocab_size)
    positions = getattr(config, "max_position_embeddings", None) or _MAX_TOKENS
    reserved = 0 if family is None else family.reserved
    length = min(max_tokens or positions, positions - reserved, tokenizer.model_max_length)
    spec = spec or _spec(place, tokenizer, lower=family is not None and family.lower)
    if family is not None and family.causal and family.pool == "last":
        _check_end(place.source, tokenizer)
        return EndingTokenizer(tokenizer, spec, length, pads=False)
    return Tokenizer(tokenizer, spec, length, pads=family is not None and family.pads)


def _spec(place: Place, tokenizer: Any, lower: bool) -> TextSpec:
    vocabulary = tokenizer.get_vocab()
    link, mention = "", ""
    if {"HTTPURL", "@USER"} <= vocabulary.keys():
        link, mention = "HTTPURL", "@USER"  # BERTweet
    elif "twitter" in place.repository.lower():
        link, mention = "http", "@user"  # the models of cardiffnlp
    ids = [tokenizer(letter, add_special_tokens=False)["input_ids"] for letter in ("A", "a")]
    return TextSpec(link, mention, lower or ids[0] == ids[1])


def _described(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return str(backend.to_str())
    return f"{type(tokenizer).__name__} {json.dumps(tokenizer.get_vocab(), sort_keys=True)}"


def _check(source: str, tokenizer: Any, vocabulary: int) -> None:
    if len(tokenizer) < _FEWEST_TOKENS:
        raise UserError(
            f"{source}: tokenizer.json: {len(tokenizer)} tokens: expected a vocabulary: fetch it again"
        )
    highest = max(tokenizer.vocab_size - 1, *tokenizer("a")["input_ids"])
    if highest >= vocabulary:
        raise UserError(
            f"{source}: tokenizer.json: a token has the number {highest}, but the weights know "
            f"{vocabulary} (vocab_size in config.json): fetch both from one place"
        )


def _check_end(source: str, tokenizer: Any) -> None:
    end = tokenizer.eos_token_id
    if end is None or end not in tokenizer("a")["input_ids"]:
        raise UserError(
            f"{source}: tokenizer.json: a text does not end with the token eos_token "
            f"({tokenizer.eos_token!r}), where the model takes its embedding from: fetch the tokenizer again"
        )
