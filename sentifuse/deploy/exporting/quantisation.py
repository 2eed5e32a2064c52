"""Encoders in 8 bits.

Convolutional networks have weights and activations in 8 bits: the ranges of the activations are those that
the samples cause, and each channel of the weights has a scale of its own. The first quarter of the
convolutions stays in float32: with all of them in 8 bits, the embeddings of EfficientNet-Lite0 have a mean
cosine of 0.84 to those in float32 (24 photographs), and without the first eight 0.988. In transformers, whose
activations differ from token to token, the ranges are taken anew from each input, and the rest stays float32
(MiniLM-L6 on 60 tweets: 0.991).

Weights have one of 128 values, not 256. Processors with AVX2 and without VNNI add products of 8 bits in 16:
with 256 values the sums would be cut off there, and the export would say something else than where it was
measured (onnxruntime's documentation, "Quantize ONNX models").
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentifuse.deploy.exported.files import Manifest, write_manifest
from sentifuse.deploy.exported.graphs import Array, Runs, Session
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError
from sentifuse.runtime.threads import cores

# Inputs and outputs of some runs of a graph.
_Runs = Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]
# An encoder stays in float32 if its embeddings are less alike than this.
_LEAST_COSINE = 0.98
# Runs of a graph whose activations are looked at; one of images holds up to eight.
_MOST_RUNS = 64
# What is multiplied, or looked up: nearly all of the time and the bytes.
_CONVOLUTIONAL, _TRANSFORMER = ("Conv", "MatMul", "Gemm"), ("MatMul", "Gemm", "Gather")


def quantise(folder: Path, manifest: Manifest, pairs: Sequence[Pair]) -> Manifest:
    """Replaces the graphs of those encoders of an export whose embeddings stay alike in 8 bits.

    Args:
        folder: a whole export in float32.
        manifest: of it.
        pairs: such as the model will see.

    Returns:
        The manifest of what is there now.

    Raises:
        UserError: the embeddings of no encoder stay alike.
    """
    predictor = ExportedPredictor.load(folder)
    recorders = {name: _Recorder(session) for name, session in predictor.sessions.items()}
    predictor.sessions = recorders
    deque(predictor.predict_many(pairs[:_MOST_RUNS]), maxlen=0)
    found = {
        each.key: _quantise(folder / each.graph, recorders[each.graph].runs)
        for each in manifest.encoders
    }
    if not any(each >= _LEAST_COSINE for each in found.values()):
        told = ", ".join(f"{key} {each:.3f}" for key, each in found.items())
        raise UserError(
            f"export: --int8: mean cosine to the embeddings in fp32: {told}: expected {_LEAST_COSINE} or "
            "more for one encoder: export without --int8"
        )
    encoders = tuple(
        replace(each, precision="int8") if found[each.key] >= _LEAST_COSINE else each
        for each in manifest.encoders
    )
    quantised = replace(manifest, encoders=encoders)
    write_manifest(folder, quantised, {})
    return quantised


class _Recorder:
    """A session that keeps its first inputs, and what it gave for them."""

    def __init__(self, session: Runs) -> None:
        self._session = session
        self.runs: list[tuple[Mapping[str, Array], Mapping[str, Array]]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        found = self._session.run(inputs)
        if len(self.runs) < _MOST_RUNS:
            self.runs.append((inputs, found))
        return found


def _quantise(path: Path, runs: _Runs) -> float:
    """Puts the graph `path` into 8 bits if that leaves its embeddings alike.

    Returns:
        The mean cosine of its embeddings to those in float32; 0 if it was never run.
    """
    if not runs:
        return 0.0
    candidate = path.with_suffix(".int8")
    _write(path, candidate, [inputs for inputs, _ in runs])
    session = Session(candidate.read_bytes(), cores())
    alike = float(np.mean([_cosine(session.run(inputs), exact) for inputs, exact in runs]))
    if alike >= _LEAST_COSINE:
        candidate.replace(path)
    candidate.unlink(missing_ok=True)
    return alike


def _cosine(found: Mapping[str, Array], exact: Mapping[str, Array]) -> float:
    """The mean over all embeddings (B, D) of one run."""
    cosines = []
    for name in exact:
        if name.endswith("embedding"):
            lengths = [np.linalg.norm(each[name], axis=1) for each in (found, exact)]
            cosines.append((found[name] * exact[name]).sum(axis=1) / np.prod(lengths, axis=0))
    return float(np.mean(cosines))


def _write(path: Path, out: Path, inputs: Sequence[Mapping[str, Array]]) -> None:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Folds the transposition of each weight into it, and each norm into its convolution.
    prepared = path.with_suffix(".prepared")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    convolutions = [each.name for each in onnx.load(prepared).graph.node if each.op_type == "Conv"]
    shared: dict[str, Any] = {"per_channel": True, "reduce_range": True}
    shared |= {"weight_type": quantization.QuantType.QInt8}
    if len(convolutions) > 1:
        quantization.quantize_static(
            prepared,
            out,
            _Reader(inputs),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            op_types_to_quantize=_CONVOLUTIONAL,
            nodes_to_exclude=convolutions[: len(convolutions) // 4],
            **shared,
        )
    else:
        quantization.quantize_dynamic(prepared, out, op_types_to_quantize=_TRANSFORMER, **shared)
    prepared.unlink()


class _Reader:
    """Inputs one at a time, as onnxruntime's calibration asks for them."""

    def __init__(self, inputs: Sequence[Mapping[str, Array]]) -> None:
        self._rest: Iterator[Mapping[str, Array]] = iter(inputs)

    def get_next(self) -> dict[str, Array] | None:
        found = next(self._rest, None)
        return None if found is None else {name: np.asarray(each) for name, each in found.items()}
