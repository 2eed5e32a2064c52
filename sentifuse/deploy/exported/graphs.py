"""The parts of an export at work: sessions of onnxruntime, and tokenizers."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentifuse.data import text
from sentifuse.data.emoji_names import Emoji
from sentifuse.data.text import TextSpec
from sentifuse.errors import UserError

Array = NDArray[Any]


class Runs(Protocol):
    """A graph: name -> input, to name -> output."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...


class Session:
    """A graph that onnxruntime has loaded; several threads may run it."""

    def __init__(self, raw: bytes, threads: int) -> None:
        """Takes the bytes of an ONNX file, and how many threads a run may have.

        Raises:
            UserError: onnxruntime is not installed.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f"an export: {error}: run `pip install -r requirements-onnx.txt`"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            raw, options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {each.name for each in self._session.get_inputs()}
        self._outputs = [each.name for each in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Name -> input, to name -> output; inputs that the graph does not read are passed over."""
        read = {name: value for name, value in inputs.items() if name in self._inputs}
        return dict(zip(self._outputs, self._session.run(None, read), strict=True))


class Tokenizer:
    """Cleans and tokenizes, as `encoders.tokenizing` does with transformers."""

    def __init__(
        self, raw: bytes, spec: TextSpec, end: int | None, unknown: Collection[str], emoji: Emoji
    ) -> None:
        """Takes a tokenizer that cuts and pads, and what cleaning needs.

        Args:
            raw: its file.
            spec: how texts are cleaned.
            end: the token behind which a text is cut; None for no such token.
            unknown: the emoji that it does not know.
            emoji: the names of all emoji.
        """
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_buffer(raw)
        self._spec, self._end, self._unknown, self._emoji = spec, end, unknown, emoji

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """N texts as people wrote them -> N lists of ids, none of them empty."""
        cleaned = [text.clean(each, self._spec, self._unknown, self._emoji) for each in texts]
        ids = [each.ids for each in self._tokenizer.encode_batch(cleaned)]
        if self._end is None:
            return ids
        # A text may spell out the end-of-text token.
        return [each[: each.index(self._end) + 1] for each in ids]


def read_emoji(raw: bytes) -> tuple[Emoji, dict[str, frozenset[str]]]:
    """What `files.emoji_document` wrote: the names, and what each text encoder does not know."""
    document = json.loads(raw)
    unknown = {key: frozenset(each) for key, each in document["unknown"].items()}
    return Emoji.of(document["names"]), unknown


def padded(rows: Sequence[Array]) -> tuple[Array, Array]:
    """(T, H) each -> (B, T, H) float32, filled up with zeros, and the mask (B, T) of what is real."""
    lengths = np.array([len(row) for row in rows])
    out = np.zeros((len(rows), lengths.max(), rows[0].shape[1]), np.float32)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out, np.arange(lengths.max()) < lengths[:, None]
