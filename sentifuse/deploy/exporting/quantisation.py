"""Encoders in 8 bits.

Convolutional networks have weights and activations in 8 bits: each channel of the weights has a scale of its
own, and the ranges of the activations are those that the samples cause. An activation function is quantised
with the convolution before it, so that the range is the one behind it. What the first layers lose, all others
work with: as many of the first layers stay in float32 as it takes for the embeddings to stay alike.

Transformers have weights in blocks (`transformer_blocks`). The rest stays in float32.

**The same answers on every processor.** With AVX2 and without VNNI, onnxruntime multiplies the activations of
a convolution, 0..255, by signed weights and adds two products in 16 bits, where 255 (127 + 127) does not fit.
Its documentation ("Quantize ONNX models") advises weights of 7 bits. Here the range of a channel is the
largest weight, or sum of two weights whose products are added: no sum is cut off, and most channels of
pointwise convolutions lose a third of a bit and not a whole one. Depthwise convolutions have kernels that add
in 32 bits.
"""

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sentifuse.deploy.exported.files import Manifest, write_manifest
from sentifuse.deploy.exported.graphs import Array, Runs, Session
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.exporting import transformer_blocks
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError
from sentifuse.runtime.files import write_bytes
from sentifuse.runtime.threads import cores

# Inputs and outputs of some runs of a graph.
_Runs = Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]
# How alike embeddings have to stay, by their mean cosine, or the encoder stays in float32; the later ones are
# for an export that the gate would refuse with the first.
LEAST_COSINES = (0.996, 0.997, 0.998)
# Runs of a graph whose activations are looked at; one of images holds up to eight.
_MOST_RUNS = 32
# What is quantised in a convolutional network.
_CONVOLUTIONAL = ("Conv", "MatMul", "Gemm", "Clip", "Relu", "Add")


def quantise(
    folder: Path, manifest: Manifest, pairs: Sequence[Pair], least: float = LEAST_COSINES[0]
) -> Manifest:
    """Replaces the graphs of those encoders of an export whose embeddings stay alike in 8 bits.

    Args:
        folder: a whole export in float32.
        manifest: of it.
        pairs: such as the model will see.
        least: the mean cosine that embeddings are to have to those in float32, 0..1.

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
        each.key: _quantise(folder / each.graph, recorders[each.graph].runs, least)
        for each in manifest.encoders
    }
    if not any(each >= least for each in found.values()):
        told = ", ".join(f"{key} {each:.4f}" for key, each in found.items())
        raise UserError(
            f"export: --int8: mean cosine to the embeddings in fp32: {told}: expected {least} or more for "
            "one encoder: export without --int8"
        )
    encoders = tuple(
        replace(each, precision="int8") if found[each.key] >= least else each
        for each in manifest.encoders
    )
    quantised = replace(manifest, encoders=encoders)
    write_manifest(folder, quantised)
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


def _quantise(path: Path, runs: _Runs, least: float) -> float:
    """Puts the graph `path` into 8 bits if that leaves its embeddings alike.

    Returns:
        The mean cosine of its embeddings to those in float32; 0 if it was never run.
    """
    alike = 0.0
    if runs:
        with tempfile.TemporaryDirectory(prefix="quantise-") as work:
            for raw in _candidates(path, Path(work), [inputs for inputs, _ in runs]):
                session = Session(raw, cores())
                alike = float(
                    np.mean([_cosine(session.run(given), exact) for given, exact in runs])
                )
                if alike >= least:
                    write_bytes(path, raw)
                    break
    return alike


def _cosine(found: Mapping[str, Array], exact: Mapping[str, Array]) -> float:
    """The mean over all embeddings (B, D) of one run."""
    cosines = []
    for name in exact:
        if name.endswith("embedding"):
            lengths = [np.linalg.norm(each[name], axis=1) for each in (found, exact)]
            cosines.append((found[name] * exact[name]).sum(axis=1) / np.prod(lengths, axis=0))
    return float(np.mean(cosines))


def _candidates(path: Path, work: Path, inputs: Sequence[Mapping[str, Array]]) -> Iterator[bytes]:
    """The graph `path` in 8 bits, the smallest first; those after it keep more in float32."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Folds the transposition of each weight into it, and each norm into its convolution.
    prepared = work / "prepared.onnx"
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    nodes = model.graph.node  # each behind those that it reads
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    if len(convolutions) <= 1:  # that of patches
        yield transformer_blocks.quantise(model)
        return
    kept = 0
    while kept <= len(convolutions) // 2:
        first = [node.name for node in nodes[: convolutions[kept]]]
        yield _calibrated(prepared, work, inputs, first)
        kept = max(1, 2 * kept)


def _calibrated(
    prepared: Path, work: Path, inputs: Sequence[Mapping[str, Array]], kept: Sequence[str]
) -> bytes:
    """A convolutional network in 8 bits, but for the nodes `kept`.

    These are the first ones: a convolution between two of 8 bits gets weights of 8 bits as a whole, not per
    channel, when onnxruntime loads the graph.
    """
    import onnx
    from onnxruntime import quantization

    graph, out = onnx.load(prepared).graph, work / "quantised.onnx"
    weights = {each.name: each for each in graph.initializer}
    overrides = {
        each.input[1]: _channels(onnx.numpy_helper.to_array(weights[each.input[1]]))
        for each in graph.node
        if each.op_type == "Conv" and each.name not in kept
    }
    quantization.quantize_static(
        prepared,
        out,
        _Reader(inputs),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=_CONVOLUTIONAL,
        nodes_to_exclude=kept,
        per_channel=True,
        reduce_range=True,  # of all that is no convolution
        calibration_cache_path=work / "ranges.json",
        extra_options={"TensorQuantOverrides": overrides},
    )
    return out.read_bytes()


def _channels(weight: Array) -> list[dict[str, Any]]:
    """How onnxruntime is to quantise the weight (O, I, K, K) of a convolution, for each output channel."""
    from onnxruntime import quantization

    most = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    if weight.shape[1] > 1:  # not depthwise
        rows = weight.reshape(len(weight), -1)
        if weight[0, 0].size > 1:  # kernels differ in the order: the two largest may be neighbours
            rows = -np.sort(-np.abs(rows), axis=1)
        pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
        most = np.maximum(most, np.abs(pairs.sum(axis=2)).max(axis=1))
    kind = {"quant_type": quantization.QuantType.QInt8, "axis": 0, "symmetric": True}
    return [{**kind, "rmin": -each, "rmax": each, "reduce_range": False} for each in most]


class _Reader:
    """Inputs one at a time, as onnxruntime's calibration asks for them."""

    def __init__(self, inputs: Sequence[Mapping[str, Array]]) -> None:
        self._rest: Iterator[Mapping[str, Array]] = iter(inputs)

    def get_next(self) -> dict[str, Array] | None:
        found = next(self._rest, None)
        return None if found is None else {name: np.asarray(each) for name, each in found.items()}
