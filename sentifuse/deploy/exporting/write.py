"""A bundle -> the folder of an export, which gets its name when the gate has passed it."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from sentifuse.data import emoji_names
from sentifuse.data.text import TextSpec
from sentifuse.deploy import loading
from sentifuse.deploy.bundle import CONFIG
from sentifuse.deploy.exported.files import (
    DECISION,
    EMOJI,
    ExportedEncoder,
    Manifest,
    emoji_document,
    is_export,
    write_manifest,
)
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.exporting import gate, graphs, quantisation, samples
from sentifuse.deploy.exporting.gate import Measured, Reference
from sentifuse.deploy.exporting.graphs import DecisionGraph, EncoderGraph, Read
from sentifuse.deploy.exporting.samples import Samples
from sentifuse.deploy.loading import Bundle
from sentifuse.deploy.predictor import Predictor
from sentifuse.encoders.interface import AnyEncoder, Backbone
from sentifuse.encoders.tokenizing import Tokenizer
from sentifuse.errors import UserError
from sentifuse.models.classifier import INPUT_MODES
from sentifuse.runtime.files import read_json, write_bytes, write_text

Places = str | Mapping[str, str] | None


def export(
    bundle: Path, out: Path, *, int8: bool, csv: Path | None = None, places: Places = None
) -> Measured:
    """Writes `bundle` as ONNX to the folder `out`; an export that stood there is replaced.

    Args:
        bundle: its folder.
        out: the folder to write.
        int8: whether the encoders' weights and activations are in 8 bits.
        csv: pairs to calibrate and compare on, with labels in `tag`; None for those that were not trained on
            in the project of this folder, or in fp32 for pairs that are made.
        places: where encoders are, as of `Predictor.load`.

    Returns:
        What the gate measured.

    Raises:
        UserError: the bundle or its encoders cannot be used or exported, `out` is something else than an
            export, or the gate refuses what came out. Nothing is written then.
    """
    _check(out, int8, csv)
    loaded = loading.load(bundle)
    given = _samples(csv, int8, loaded.model.config.labels)
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = write(partial, loaded, _exact(bundle, loaded, places))
        reference = gate.refer(Predictor.load(bundle, places), given)
        if int8:
            manifest = _quantise(partial, manifest, reference)
        measured = gate.measure(ExportedPredictor.load(partial), reference)
        lowered = {each.precision for each in loaded.encoding.encoders} - {"fp32"}
        gate.check(measured, int8, sorted(lowered))
        digest = read_json(bundle / CONFIG)["sha256"]
        write_manifest(partial, manifest, bundle=digest, measured=asdict(measured))
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return measured


def _quantise(folder: Path, manifest: Manifest, reference: Reference) -> Manifest:
    """Puts the encoders into 8 bits, as far as the gate lets them through."""
    exact = {path: path.read_bytes() for path in folder.glob("*.onnx")}
    quantised = manifest
    for least in quantisation.LEAST_COSINES:
        for path, raw in exact.items():
            write_bytes(path, raw)
        quantised = quantisation.quantise(folder, manifest, reference.pairs, least)
        if not gate.wrong(gate.measure(ExportedPredictor.load(folder), reference), int8=True):
            break
    return quantised


def _check(out: Path, int8: bool, csv: Path | None) -> None:
    """Refuses, before any work, what cannot become an export."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"export: {error.name} is not installed: run `pip install -r requirements-export.txt`"
        ) from None
    if int8 and csv is None and not samples.SPLITS.is_file():
        raise UserError(
            f"export: --int8 needs --samples CSV, or a project with {samples.SPLITS} in this folder: "
            "activations are calibrated, and accuracy is compared, on pairs as the model will see them"
        )
    if out.exists() and not is_export(out) and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not an export, and not empty: choose another folder")


def _samples(csv: Path | None, int8: bool, labels: Sequence[str]) -> Samples:
    if csv is not None:
        return samples.read(csv, labels)
    return samples.of_project(labels) if int8 else samples.made()


def write(folder: Path, loaded: Bundle, backbone: Backbone) -> Manifest:
    """Writes an export in float32 that nothing has been compared with.

    Args:
        folder: an empty one.
        loaded: the model.
        backbone: its encoders, which are changed and of no further use.

    Raises:
        UserError: a part cannot be exported.
    """
    model, record = loaded.model, loaded.encoding
    reads = graphs.reads(model, record.encoders)
    for each in reads:
        own = each.record
        graph = EncoderGraph(backbone[own.key], each, record.setting.hidden_dtype)
        write_bytes(folder / f"{own.key}.onnx", graphs.encoder(graph))
    write_bytes(folder / DECISION, graphs.decision(DecisionGraph(graphs.members_of(model), reads)))
    encoders = tuple(_encoder(folder, each, backbone[each.record.key]) for each in reads)
    _write_emoji(folder, encoders, backbone)
    manifest = Manifest(
        labels=tuple(model.config.labels),
        reads=tuple(sorted({"image", "text"} - INPUT_MODES[model.config.input_mode])),
        encoders=encoders,
        views=record.views if loaded.predict_views == "mean" else 1,
        drawn=record.setting.views,
        temperature=loaded.temperature,
    )
    write_manifest(folder, manifest)
    return manifest


def _exact(folder: Path, loaded: Bundle, places: Places) -> Backbone:
    """The encoders of a bundle in float32, whatever it was trained with."""
    record = loaded.encoding
    encoders = tuple(replace(each, precision="fp32") for each in record.encoders)
    return loading.load_backbone(folder, replace(record, encoders=encoders), places)


def _encoder(folder: Path, read: Read, encoder: AnyEncoder) -> ExportedEncoder:
    own = read.record
    found = ExportedEncoder(
        key=own.key,
        modality=own.modality,
        dim=read.dim,
        token_dim=read.token_dim,
        outputs=max(1, len(read.tails)),
        tokens=read.tokens,
        spec=own.spec,
        end=_tokenizer(encoder).end if own.modality == "text" else None,
        ocr=own.ocr,
    )
    if own.modality == "text":
        tokenizer = _tokenizer(encoder).portable()
        if tokenizer is None:
            raise UserError(
                f"export: the encoder {own.key} ({own.name!r}): its tokenizer is written in Python, and the "
                "library `tokenizers` cannot read it: use the bundle"
            )
        write_text(folder / found.tokenizer, tokenizer)
    return found


def _tokenizer(encoder: AnyEncoder) -> Tokenizer:
    found: Tokenizer = cast(Any, encoder).tokenize
    return found


def _write_emoji(folder: Path, encoders: Sequence[ExportedEncoder], backbone: Backbone) -> None:
    unknown = {
        each.key: _tokenizer(backbone[each.key]).unknown_emoji
        for each in encoders
        if isinstance(each.spec, TextSpec) and each.spec.emoji == "words"
    }
    if unknown:
        names = dict(emoji_names.installed().names)
        write_text(folder / EMOJI, emoji_document(names, unknown))
