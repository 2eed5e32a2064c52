"""Reads the text in pictures, with RapidOCR.

Its package holds the models of PP-OCR, so nothing is fetched. It is optional, and nothing of it is imported
before it is asked for: see `requirements-ocr.txt`.
"""

import json
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageOps

from sentifuse.errors import UserError
from sentifuse.runtime.files import sha256

NAME = "rapidocr"
# Part of the fingerprint: raise it when the text that comes out changes.
_VERSION = 1
# The longer side of what is looked at, in pixels: small pictures are enlarged, too, as small letters are read
# badly. So each picture takes about the same time, whatever its size.
_SIDE = 960
# A picture whose shorter side is less than this then holds no line of text.
_LEAST_SIDE = 16
# Of the lines that the reader is less sure of, nearly all are lines and shapes that it takes for letters.
_LEAST_SCORE = 0.7
_PARAMS: dict[str, Any] = {
    "Global.log_level": "critical",
    "Global.text_score": _LEAST_SCORE,
    # Its own way is to enlarge the shorter side to 736 pixels: a strip would take all memory.
    "Det.limit_type": "max",
    "Det.limit_side_len": _SIDE,
    # Each process of a pool has one core.
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


class Reader(Protocol):
    """Reads the text in pictures."""

    @property
    def fingerprint(self) -> str:
        """As of `fingerprint`."""
        ...

    def read(self, picture: Image.Image) -> str:
        """The text in an RGB picture: lines in reading order, joined by spaces; empty if there is none."""
        ...


def load() -> Reader:
    """Loads the reader, which takes half a second.

    Raises:
        UserError: RapidOCR is not installed.
    """
    _check_installed()
    return _RapidReader()


def load_same(folder: Path, expected: str) -> Reader:
    """Loads the reader that the model in `folder` was trained with, which has the fingerprint `expected`.

    Raises:
        UserError: it is not installed, or it is another one.
    """
    reader = load()
    if reader.fingerprint != expected:
        raise UserError(
            f"{folder}: trained with the reader of text in images {expected}, but here is "
            f"{reader.fingerprint}: install the version of {NAME} that it was trained with "
            "(requirements-ocr.txt of that release), or train again with `dvc repro`"
        )
    return reader


def fingerprint() -> str:
    """SHA-256 of the version of RapidOCR, which comes with its models, and of how it is used.

    Raises:
        UserError: RapidOCR is not installed.
    """
    _check_installed()
    settings = {"version": _VERSION, "least_side": _LEAST_SIDE, **_PARAMS}
    described = {NAME: metadata.version(NAME), **settings}
    return sha256(json.dumps(described, sort_keys=True).encode())


def versions() -> dict[str, str]:
    """The versions of the libraries that RapidOCR computes with; others may read a letter differently.

    Raises:
        UserError: RapidOCR is not installed.
    """
    _check_installed()
    import cv2
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "opencv": cv2.__version__}


def _check_installed() -> None:
    try:
        import onnxruntime  # noqa: F401  # not a requirement of rapidocr, which imports it when it reads
        import rapidocr  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"backbone.ocr: {error}: run `pip install -r requirements-ocr.txt`"
        ) from None


class _RapidReader:
    """RapidOCR with one thread."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self.fingerprint = fingerprint()
        self._engine: Any = RapidOCR(params=_PARAMS)

    def read(self, picture: Image.Image) -> str:
        """The text in an RGB picture; see `Reader`."""
        if min(picture.size) * _SIDE < _LEAST_SIDE * max(picture.size):
            return ""
        found = self._engine(ImageOps.contain(picture, (_SIDE, _SIDE)))
        return " ".join(found.txts or ())
