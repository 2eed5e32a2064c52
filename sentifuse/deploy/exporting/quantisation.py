"""Encoders in 8 bits.

Convolutional networks have weights and activations in 8 bits: the ranges of the activations are those that
the samples cause, and each channel of the weights has a scale of its own. In transformers, whose activations
differ from token to token, the ranges are taken anew from each input, and the rest stays float32.

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
from sentifuse.deploy.exported.graphs import Array, Runs
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.pairs import Pair

# Runs of a graph whose activations are looked at; one of images holds up to eight.
_MOST_RUNS = 64
# What is multiplied, or looked up. Both take nearly all of the time and the bytes.
_OPERATORS = ("Conv", "MatMul", "Gemm", "Gather")


def quantise(folder: Path, manifest: Manifest, pairs: Sequence[Pair]) -> Manifest:
    """Replaces the graphs of all encoders of the export in `folder`.

    Args:
        folder: a whole export in float32.
        manifest: of it.
        pairs: such as the model will see.

    Returns:
        The manifest of what is there now.
    """
    predictor = ExportedPredictor.load(folder)
    recorders = {name: _Recorder(session) for name, session in predictor.sessions.items()}
    predictor.sessions = recorders
    deque(predictor.predict_many(pairs[:_MOST_RUNS]), maxlen=0)
    for each in manifest.encoders:
        _quantise(folder / each.graph, recorders[each.graph].inputs)
    quantised = replace(manifest, precision="int8")
    write_manifest(folder, quantised, {})
    return quantised


class _Recorder:
    """A session that keeps its first inputs."""

    def __init__(self, session: Runs) -> None:
        self._session = session
        self.inputs: list[Mapping[str, Array]] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if len(self.inputs) < _MOST_RUNS:
            self.inputs.append(inputs)
        return self._session.run(inputs)


def _quantise(path: Path, inputs: Sequence[Mapping[str, Array]]) -> None:
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Folds the transposition of each weight into it, and each norm into its convolution.
    prepared = path.with_suffix(".prepared")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    operators = [node.op_type for node in onnx.load(prepared).graph.node]
    shared: dict[str, Any] = {"per_channel": True, "reduce_range": True}
    shared |= {"weight_type": quantization.QuantType.QInt8, "op_types_to_quantize": _OPERATORS}
    if operators.count("Conv") > 1 and inputs:
        quantization.quantize_static(
            prepared,
            path,
            _Reader(inputs),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            **shared,
        )
    else:
        quantization.quantize_dynamic(prepared, path, **shared)
    prepared.unlink()


class _Reader:
    """Inputs one at a time, as onnxruntime's calibration asks for them."""

    def __init__(self, inputs: Sequence[Mapping[str, Array]]) -> None:
        self._rest: Iterator[Mapping[str, Array]] = iter(inputs)

    def get_next(self) -> dict[str, Array] | None:
        found = next(self._rest, None)
        return None if found is None else {name: np.asarray(each) for name, each in found.items()}
