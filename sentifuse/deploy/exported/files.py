"""The files of an export: graphs, tokenizers, and `export.json`, which says how they belong together.

| file | what |
| --- | --- |
| `export.json` | a `Manifest`, the bundle that it is of, the SHA-256 of each file, what the gate measured |
| `<key>.onnx` | one encoder with its tails: uint8 pixels (B, S, S, 3) or ids (B, T) -> what fusion reads |
| `decision.onnx` | norms, fusion, head: what the encoders give -> logits (4, B, C) of `shapley.COALITIONS` |
| `<key>.tokenizer.json` | the tokenizer of a text encoder, as the library `tokenizers` reads it |
| `emoji.json` | the names of all emoji, and those that each tokenizer does not know |

The inputs of `decision.onnx` are the outputs of the encoders, named by `output`, and `<key>.mask` (B, T) for
the tokens of a text.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentifuse.data.images import ImageSpec, ViewSpec
from sentifuse.data.text import TextSpec
from sentifuse.deploy.sealed import seal, unseal
from sentifuse.errors import UserError
from sentifuse.runtime.files import sha256, write_text

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

FORMAT = 1
MANIFEST, DECISION, EMOJI = "export.json", "decision.onnx", "emoji.json"
_AGAIN = "fetch it again, or run `python -m sentifuse export`"


@dataclass(frozen=True)
class ExportedEncoder:
    """One encoder.

    Attributes:
        key: as of `registry.keys`; names its files.
        modality: what it reads.
        dim: width D of its embedding.
        token_dim: width H of its tokens.
        outputs: how many embeddings it gives: one, or one for each member of an ensemble with tails.
        tokens: whether it gives tokens, too.
        spec: how it wants its images or texts.
        end: the token behind which a text is cut; None for no such token.
        ocr: SHA-256 of the reader of text in images whose texts it encodes, or None.
        precision: of its weights, `fp32` or `int8`.
    """

    key: str
    modality: "Modality"
    dim: int
    token_dim: int
    outputs: int
    tokens: bool
    spec: ImageSpec | TextSpec
    end: int | None
    ocr: str | None
    precision: str = "fp32"

    @property
    def graph(self) -> str:
        """The file of its graph."""
        return f"{self.key}.onnx"

    @property
    def tokenizer(self) -> str:
        """The file of its tokenizer, if it reads texts."""
        return f"{self.key}.tokenizer.json"


@dataclass(frozen=True)
class Manifest:
    """What prediction needs beside the graphs.

    Attributes:
        labels: class names in the order of training, C.
        reads: the modalities that the model reads.
        encoders: those of images first.
        views: V, how many views of each image the model sees.
        drawn: how random views are drawn.
        temperature: of the probabilities.
    """

    labels: tuple[str, ...]
    reads: tuple[str, ...]
    encoders: tuple[ExportedEncoder, ...]
    views: int
    drawn: ViewSpec
    temperature: float


def output(key: str, number: int, what: str) -> str:
    """The name of an output: `what` is `embedding` or `tokens`, of member `number` of an ensemble."""
    return f"{key}.{number}.{what}"


def is_export(folder: Path) -> bool:
    """Whether `folder` is an export rather than a bundle."""
    return (folder / MANIFEST).is_file()


def write_manifest(folder: Path, manifest: Manifest, **facts: Any) -> None:
    """Writes `export.json` beside all other files, which are there.

    The facts of an export that the gate has passed are `bundle`, the SHA-256 in the config of the bundle, and
    `measured`, what the gate found.
    """
    others = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    digests = {path.name: sha256(path.read_bytes()) for path in others}
    document = {"format": FORMAT, **asdict(manifest), **facts, "files": digests}
    write_text(folder / MANIFEST, seal(document))


def read_manifest(folder: Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest of an export, and all of `export.json`.

    Raises:
        UserError: it is missing, damaged, or of another format.
    """
    path = folder / MANIFEST
    try:
        document = unseal(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path}: no such file: an export is a folder that `python -m sentifuse export` wrote"
        ) from None
    if document is None:
        raise UserError(f"{path}: not that of an export, or changed since it was written: {_AGAIN}")
    if document["format"] != FORMAT:
        raise UserError(
            f"{path}: format {document['format']}, but this version reads format {FORMAT}: {_AGAIN}"
        )
    return _manifest(document), document


def read_file(folder: Path, name: str, digests: dict[str, str]) -> bytes:
    """The bytes of a file of an export.

    Raises:
        UserError: it is missing, or damaged.
    """
    try:
        raw = (folder / name).read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{folder / name}: no such file, but {MANIFEST} names it: {_AGAIN}"
        ) from None
    if sha256(raw) != digests[name]:
        raise UserError(f"{folder / name}: damaged, or from another export: {_AGAIN}")
    return raw


def emoji_document(names: dict[str, str], unknown: dict[str, Collection[str]]) -> str:
    """The text of `emoji.json`: `names` of all emoji, and the key of an encoder -> those it does not know."""
    listed = {key: sorted(each) for key, each in unknown.items()}
    return json.dumps(
        {"names": names, "unknown": listed}, ensure_ascii=False, separators=(",", ":")
    )


def _manifest(document: dict[str, Any]) -> Manifest:
    encoders = tuple(
        ExportedEncoder(**{**each, "spec": _spec(each["modality"], each["spec"])})
        for each in document["encoders"]
    )
    return Manifest(
        labels=tuple(document["labels"]),
        reads=tuple(document["reads"]),
        encoders=encoders,
        views=document["views"],
        drawn=ViewSpec(**document["drawn"]),
        temperature=document["temperature"],
    )


def _spec(modality: str, values: dict[str, Any]) -> ImageSpec | TextSpec:
    if modality == "text":
        return TextSpec(**values)
    return ImageSpec(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
