"""Every family of encoders computes in its graph what it computes in torch, for any batch and length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("onnxscript", reason="onnxscript is not installed (requirements-export.txt)")

from sentifuse.config.backbone import Modality
from sentifuse.deploy.exported.graphs import Session
from sentifuse.deploy.exporting import graphs
from sentifuse.deploy.exporting.graphs import EncoderGraph, Read
from sentifuse.encoders import registry, tails
from sentifuse.errors import UserError
from sentifuse.features import selection
from sentifuse.features.selection import Wanted
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import READS_IMAGES, READS_TEXTS, make_encoder_folder

# They take minutes: on one Python they are enough.
pytestmark = pytest.mark.pipeline

FROZEN = ("albert", "resnet")
CASES: list[tuple[Modality, str]] = [
    ("image", "clip"),
    ("text", "clip"),
    *(("image", family) for family in READS_IMAGES),
    *(("text", family) for family in READS_TEXTS),
]


def make_graph(folder: Path, modality: Modality, family: str, members: int = 2) -> EncoderGraph:
    """The graph of a tiny encoder, with a tail for each of some models if it can have one."""
    if family == "clip":
        make_clip_folder(folder)
    else:
        make_encoder_folder(family, folder)
    encoder = registry.load(str(folder), modality)
    split = 0 if family in FROZEN else 1
    [record] = selection.records(
        {f"{modality}_net": encoder}, [Wanted(modality, [str(folder)], [split])], True, "fp32"
    )
    built = []
    for seed in range(members if split else 0):
        torch.manual_seed(seed)
        tail = tails.build(encoder.tail(1).config).eval()
        for parameter in tail.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        built.append(tail)
    read = Read(record, encoder.embedding_dim, encoder.token_dim, built, tokens=True)
    return EncoderGraph(encoder, read, "float16")


@pytest.mark.parametrize(("modality", "family"), CASES)
def test_a_family_gives_what_it_gives_in_torch(
    tmp_path: Path, modality: Modality, family: str
) -> None:
    graph = make_graph(tmp_path / "net", modality, family)
    names = graph.read.names
    assert len(names) == (2 if family in FROZEN else 4)
    session = Session(graphs.encoder(graph), threads=1)
    rng = np.random.default_rng(0)
    pads = family.startswith("siglip")
    for batch, length in ((1, 2), (3, 9), (4, 12)):
        given: Any = rng.integers(3, 13, (batch, 12 if pads else length))
        if modality == "image":
            given = rng.integers(0, 256, (batch, 32, 32, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = graph(torch.from_numpy(given))
        found = session.run({"pixels" if modality == "image" else "ids": given})
        for name, value in zip(names, expected, strict=True):
            # float16 at the split point makes a step of the last digit of float32.
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-3)


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(tmp_path / "net", "text", "clip")

    def compute(inputs: torch.Tensor, split: int, tokens: bool) -> Any:
        if inputs.sum().item() > 3:
            raise AssertionError
        return None

    monkeypatch.setattr(graph.encoder, "compute", compute)
    with pytest.raises(
        UserError, match=r"^export: the encoder text_\S+ \(.*\) cannot be written as ONNX"
    ):
        graphs.encoder(graph)
