"""A bundle and its export: the gate, the folder, what a prediction needs."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnxscript", reason="onnxscript is not installed (requirements-export.txt)")

from onnx import TensorProto, helper, numpy_helper

from sentifuse.data.text import TextSpec
from sentifuse.deploy.exported import files
from sentifuse.deploy.exported.graphs import Session
from sentifuse.deploy.exported.predictor import ExportedPredictor
from sentifuse.deploy.exporting import (
    gate,
    graphs,
    quantisation,
    samples,
    transformer_blocks,
    write,
)
from sentifuse.deploy.exporting.gate import Accuracy, Measured
from sentifuse.deploy.exporting.graphs import OPSET
from sentifuse.deploy.exporting.samples import Samples
from sentifuse.deploy.opening import open_model
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair, PairReader
from sentifuse.deploy.predictor import Predictor
from sentifuse.errors import UserError
from sentifuse.metrics import shapley
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.fusion import FUSIONS
from tests.bundles import IMAGE, TEXT, make_bundle
from tests.places import ROOT
from tools.encoder_folders import make_encoder_folder

# They take minutes: on one Python they are enough.
pytestmark = pytest.mark.pipeline

# Of several lengths, scripts and none.
TEXTS = ("good day", "the day", "so bad #Monday", "天气", "the the the good good day", "http://x.y")


def picture(seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


PAIRS = [
    *(Pair(picture(seed), text) for seed, text in enumerate(TEXTS)),
    Pair(None, "good day"),
    Pair(picture(1), None),
]


def assert_alike(export: Path, bundle: Path) -> None:
    """Both say the same of `PAIRS`, to what float32 can."""
    found, expected = (open_model(each).predict_many(PAIRS) for each in (export, bundle))
    for one, other in zip(found, expected, strict=True):
        assert (one.label, one.used) == (other.label, other.used)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        for name in ("confidence", "base", "text_contribution", "image_contribution"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-5)


def assert_alone_as_together(export: Path) -> None:
    """A server predicts pairs together that have nothing to do with each other."""
    predictor = open_model(export)
    for pair, found in zip(PAIRS, predictor.predict_many(PAIRS), strict=True):
        alone = predictor.predict(pair.image, pair.text)
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three views, their mean; a tail in each encoder; attention over tokens."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), fusion="cross_attn")


@pytest.fixture(scope="module")
def export(bundle: Path) -> Path:
    out = bundle.parent / "export"
    measured = write.export(bundle, out, int8=False)
    assert measured.difference < gate.TOLERANCE
    assert measured.agreement == 1
    assert measured.pairs > 2 * len(samples.made().pairs)
    return out


def test_an_export_explains_as_the_bundle_does(export: Path, bundle: Path) -> None:
    found, expected = (
        open_model(each).explain(picture(), "so bad #Monday") for each in (export, bundle)
    )
    assert [word.text for word in found.words] == ["so", "bad", "#Monday"]
    for one, other in zip(found.words, expected.words, strict=True):
        assert one.contribution == pytest.approx(other.contribution, abs=2e-5)
    np.testing.assert_allclose(found.grid, expected.grid, atol=2e-5)
    assert np.abs(found.grid).max() > 1e-4


def test_an_export_says_what_its_bundle_says(bundle: Path, export: Path) -> None:
    assert_alike(export, bundle)
    assert_alone_as_together(export)
    document = json.loads((export / files.MANIFEST).read_text(encoding="utf-8"))
    assert document["measured"]["difference"] < gate.TOLERANCE
    assert {*document["files"], files.MANIFEST} == {path.name for path in export.iterdir()}
    # No path of the machine that wrote it goes out with it.
    assert not [path for path in export.iterdir() if str(ROOT).encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "options",
    [
        {"fusion": "concat", "predict_views": "plain"},
        {"fusion": "gated", "frozen": True},
        {"fusion": "film", "members": 2},
        {"fusion": "film_concat", "members": 2},
        {"fusion": "cross_attn", "frozen": True, "members": 2},
    ],
    ids=["concat", "gated", "film", "film_concat", "cross_attn"],
)
def test_every_fusion_passes(tmp_path: Path, options: dict[str, Any]) -> None:
    made = make_bundle(tmp_path, **options)
    write.export(made, tmp_path / "export", int8=False)
    assert_alike(tmp_path / "export", made)


@pytest.mark.parametrize(("mode", "key"), [("text_only", TEXT), ("image_only", IMAGE)])
def test_an_encoder_that_the_model_does_not_read_stays_at_home(
    tmp_path: Path, mode: str, key: str
) -> None:
    made = make_bundle(tmp_path, fusion="film_concat", input_mode=mode)
    write.export(made, tmp_path / "export", int8=False)  # the gate compares what they say
    graphs = {path.name for path in (tmp_path / "export").glob("*.onnx")}
    assert graphs == {f"{key}.onnx", files.DECISION}
    assert open_model(tmp_path / "export").predict(picture(), "good day").used == (mode[:-5],)


def test_every_fusion_passes_with_the_encoders_that_come_with_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph_of: dict[Any, bytes] = {}  # all fusions share them, but for the tokens that one reads

    def encoder(graph: graphs.EncoderGraph) -> bytes:
        key = tuple(graph.read.names)
        if key not in graph_of:
            graph_of[key] = exactly(graph)
        return graph_of[key]

    exactly, few = graphs.encoder, Samples(samples.made().pairs[:6], None)
    monkeypatch.setattr(graphs, "encoder", encoder)
    monkeypatch.setattr(samples, "made", lambda: few)
    for fusion in FUSIONS:
        made = make_bundle(
            tmp_path / fusion,
            encoders=("efficientnet-lite0", "minilm-l6"),
            fusion=fusion,
            frozen=True,
            predict_views="plain",
        )
        measured = write.export(made, tmp_path / fusion / "export", int8=False)
        assert measured.difference < gate.TOLERANCE


def test_several_text_encoders_pass(tmp_path: Path) -> None:
    other = make_encoder_folder("mpnet", tmp_path / "mpnet")
    made = make_bundle(tmp_path, more_texts=[str(other)], fusion="film_concat")
    write.export(made, tmp_path / "export", int8=False)
    assert_alike(tmp_path / "export", made)


def test_an_export_in_8_bits_is_smaller_and_says_nearly_the_same(
    bundle: Path, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [each.label for each in Predictor.load(bundle).predict_many(PAIRS)]
    # Random weights leave the classes close to each other: what is asked of trained ones is not asked here.
    monkeypatch.setattr(gate, "AGREEMENT", 0.5)
    monkeypatch.setattr(gate, "_accuracy", lambda *_: Accuracy(0.7, 0.7, 0.6, 0.8))
    found = write.export(bundle, tmp_path / "export", int8=True, csv=_samples(tmp_path, labels))
    assert found.agreement >= 0.5
    assert gate.TOLERANCE < found.difference < 0.5
    sizes = [
        sum(each.stat().st_size for each in path.glob("*.onnx"))
        for path in (tmp_path / "export", export)
    ]
    assert sizes[0] < sizes[1]
    made, document = files.read_manifest(tmp_path / "export")
    assert "int8" in {each.precision for each in made.encoders}
    assert document["measured"]["accuracy"] is not None
    assert open_model(tmp_path / "export").predict(picture(), "good day").used == ("image", "text")
    assert_alone_as_together(tmp_path / "export")


def test_no_sum_of_two_products_leaves_16_bits() -> None:
    rng = np.random.default_rng(0)
    for shape in ((40, 9, 1, 1), (6, 3, 3, 3)):
        weight = rng.standard_normal(shape).astype(np.float32)
        most = np.array([each["rmax"] for each in quantisation._channels(weight)])
        values = np.round(weight / (most / 127)[:, None, None, None])
        assert np.abs(values).max() <= 127
        neighbours = values[:, : shape[1] - 1 : 2] + values[:, 1::2]
        assert 255 * np.abs(neighbours).max() < 2**15
        assert np.abs(values).max(axis=(1, 2, 3)).mean() > 66  # in 7 bits it is 63
    depthwise = rng.standard_normal((5, 1, 3, 3)).astype(np.float32)
    most = np.array([each["rmax"] for each in quantisation._channels(depthwise)])
    np.testing.assert_array_equal(most, np.abs(depthwise).max(axis=(1, 2, 3)))


def test_a_table_of_embeddings_has_a_scale_for_each_row() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    rows *= np.logspace(-3, 3, 300, dtype=np.float32)[:, None]
    rows[7] = 0
    value_info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["found"], axis=0)],
        "tokens",
        [value_info("ids", TensorProto.INT64, ["N"])],
        [value_info("found", TensorProto.FLOAT, ["N", 8])],
        [numpy_helper.from_array(rows, "table")],
    )
    transformer_blocks._tables(graph)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    found = Session(model.SerializeToString(), threads=1).run({"ids": np.arange(300)})["found"]
    steps = np.abs(rows).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - rows) <= 0.51 * steps).all()
    assert {each.name for each in graph.initializer} == {"table.int8", "table.scale"}


class Says(PairPredictor):
    """Says of each text the class that it is the name of."""

    def __init__(self, swapped: Collection[str] = ()) -> None:
        super().__init__(["a", "b"], PairReader(["text"], [TextSpec()], 100, reads_images=False))
        self._swapped = swapped

    def _answer(self, samples: Any, used: Any) -> Attribution:
        texts = [sample["text"].raw.decode() for sample in samples]
        is_b = np.array([(text[0] == "b") != (text in self._swapped) for text in texts])
        logits = np.stack([1.0 - is_b, 1.0 * is_b], axis=1)
        return shapley.contributions(np.stack([logits] * 4), 1.0)


def test_the_gate_measures_agreement_and_accuracy() -> None:
    texts = [f"{'ab'[number % 2]} {number}" for number in range(100)]
    labels = [text[0] for text in texts]
    given = samples.Samples([Pair(text=text) for text in texts], labels)
    found = gate.measure(Says(texts[40:43]), gate.refer(Says(texts[42:52]), given))
    assert found.difference == pytest.approx(0.462, abs=1e-3)
    # The halves of the first 32 pairs are the same text once more.
    assert (found.pairs, found.agreement) == (132, 1 - 11 / 132)
    assert found.accuracy is not None
    assert (found.accuracy.export, found.accuracy.bundle) == (0.97, 0.9)
    assert 0.8 < found.accuracy.low < 0.9 < found.accuracy.high < 0.97
    with pytest.raises(
        UserError, match=r"same label 91\.67%; accuracy 0\.970, the bundle's 0\.900"
    ):
        gate.check(found, True, [])


def _samples(folder: Path, labels: list[str]) -> Path:
    path = folder / "samples.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "text", "tag"])
        for number, (pair, label) in enumerate(zip(PAIRS, labels, strict=True)):
            if isinstance(pair.image, bytes):
                (folder / f"{number}.png").write_bytes(pair.image)
            name = f"{number}.png" if pair.image else ""
            writer.writerow([name, pair.text or "", label])
    return path


# What a prediction must not import: everything but the four libraries that it needs, and what these need.
_WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "pydantic", "pandas", "scipy", "yaml", "emoji",
                                      "safetensors", "sklearn", "onnx", "jinja2", "matplotlib"}:
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Refuse())
from sentifuse.exported import Predictor
found = Predictor.load(sys.argv[1]).predict(image=sys.argv[2], text="a good day \\U0001f60d")
print(found.label, found.used)
"""


def test_a_prediction_imports_four_libraries_only(export: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(export), str(tmp_path / "a.png")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "('image', 'text')" in done.stdout


def test_a_refused_export_leaves_what_was_there(
    bundle: Path, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    monkeypatch.setattr(gate, "TOLERANCE", -1.0)
    with pytest.raises(
        UserError, match=r"refused: \d+ pairs: largest difference \S+, same label 100"
    ):
        write.export(bundle, export, int8=False)
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before
    assert not list(export.parent.glob(".*part"))


def measured(**changes: Any) -> Measured:
    fine = Measured(pairs=9, difference=1e-6, agreement=1.0, accuracy=Accuracy(0.7, 0.7, 0.6, 0.8))
    return replace(fine, **changes)


@pytest.mark.parametrize(
    ("figures", "int8", "told"),
    [
        (
            {"difference": 2e-4},
            False,
            r"difference 2\.0e-04.*expected differences of 1e-04 or less",
        ),
        ({"difference": float("nan")}, False, "expected differences"),
        ({"agreement": 0.98}, True, r"same label 98\.00%.*expected the same label for 99%"),
        (
            {"accuracy": Accuracy(0.55, 0.7, 0.6, 0.8)},
            True,
            r"accuracy 0\.550, the bundle's 0\.700 \(0\.600 to 0\.800\): expected an accuracy within",
        ),
    ],
)
def test_the_gate_refuses_with_the_figures(figures: dict[str, Any], int8: bool, told: str) -> None:
    with pytest.raises(UserError, match=told):
        gate.check(measured(**figures), int8, [])


def test_the_gate_lets_through_what_is_alike() -> None:
    gate.check(measured(), False, [])
    gate.check(measured(difference=0.05, agreement=0.99), True, [])


def test_the_gate_says_that_the_bundle_computes_in_another_precision() -> None:
    with pytest.raises(UserError, match="compute in bf16, an export computes in fp32"):
        gate.check(measured(difference=1e-3), False, ["bf16"])


def test_wrong_places_are_told_before_any_work(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"--int8 needs --samples CSV, or a project with data/spl"):
        write.export(bundle, tmp_path / "export", int8=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(UserError, match="mine: not an export, and not empty"):
        write.export(bundle, tmp_path / "mine", int8=False)
    with pytest.raises(UserError, match="no such file: a bundle is a folder"):
        write.export(tmp_path / "none", tmp_path / "export", int8=False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("image,text,tag\n,good,positive\n,bad,great\n", "line 3: tag 'great': expected one of"),
        ("image,text,tag\n,,positive\n", "1 bad rows: line 2: neither an image nor a text"),
        ("image,text\n", "no rows"),
        ("name\nx\n", "expected a header"),
    ],
)
def test_bad_samples_are_told(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "samples.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=told):
        samples.read(path, ["negative", "positive"])


def test_samples_without_labels_have_none(tmp_path: Path) -> None:
    path = tmp_path / "samples.csv"
    path.write_text("image,text\n,good\n")
    assert samples.read(path, ["negative", "positive"]).labels is None


def make_project(folder: Path, rows: Sequence[str]) -> None:
    """The two tables of a project: `guid,label,part` each, and for each an image and a text."""
    (folder / "data").mkdir()
    splits, manifest = ["guid,label,split,group"], ["guid,image,text,image_sha256,text_sha256"]
    for number, row in enumerate(rows):
        guid, label, part = row.split(",")
        (folder / f"{guid}.png").write_bytes(picture(number))
        splits.append(f"{guid},{label},{part},{guid}")
        manifest.append(f'{guid},{guid}.png,"data:,caf%C3%A9 {guid}",,')
    (folder / samples.SPLITS).write_text("\n".join(splits))
    (folder / samples.MANIFEST).write_text("\n".join(manifest))


def test_the_samples_of_a_project_are_its_validation_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(
        tmp_path, ["1,positive,train", "2,negative,val", "3,positive,val", "4,null,predict"]
    )
    found = samples.of_project(["negative", "positive"])
    assert found.labels == ["negative", "positive"]
    assert found.pairs == [Pair(picture(1), "café 2"), Pair(picture(2), "café 3")]
    with pytest.raises(
        UserError, match=r"2 pairs of the labels negative, positive: expected pairs o"
    ):
        samples.of_project(["good", "bad"])
    (tmp_path / "3.png").unlink()
    with pytest.raises(UserError, match=r"manifest\.csv: 3: .*3\.png"):
        samples.of_project(["negative", "positive"])


def test_a_project_without_validation_has_no_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path, ["1,positive,train"])
    with pytest.raises(UserError, match="0 pairs of the labels none: expected pairs of negative"):
        samples.of_project(["negative", "positive"])


def test_the_samples_that_are_made_are_the_same_each_time() -> None:
    assert samples.made() == samples.made()


def test_a_damaged_export_is_told(export: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for path in export.iterdir():
            os.link(path, folder / path.name)
        return folder

    def rewrite(path: Path, raw: bytes) -> None:
        path.unlink()
        path.write_bytes(raw)

    folder = copy("graph")
    raw = bytearray((folder / files.DECISION).read_bytes())
    raw[-9] ^= 1
    rewrite(folder / files.DECISION, bytes(raw))
    with pytest.raises(UserError, match=r"decision\.onnx: damaged"):
        open_model(folder)
    folder = copy("gone")
    (folder / files.DECISION).unlink()
    with pytest.raises(UserError, match=r"decision\.onnx: no such file"):
        open_model(folder)
    folder = copy("manifest")
    text = (folder / files.MANIFEST).read_text(encoding="utf-8")
    rewrite(folder / files.MANIFEST, text.replace("1.5", "1.6").encode())
    with pytest.raises(UserError, match="changed since it was written"):
        open_model(folder)
    with pytest.raises(UserError, match="no such file: an export is a folder"):
        ExportedPredictor.load(tmp_path)


def test_an_export_needs_no_backbone(export: Path) -> None:
    with pytest.raises(UserError, match="--backbone: an export holds its encoders"):
        open_model(export, "somewhere")


def test_bad_pairs_are_told_as_by_a_bundle(bundle: Path, export: Path, tmp_path: Path) -> None:
    cut_off = picture(1)[:-300]
    pairs = [Pair(picture(), "good day"), Pair(cut_off, "the"), Pair(), Pair(tmp_path / "no.png")]
    ours, theirs = (list(open_model(each).try_many(pairs)) for each in (export, bundle))
    assert [str(each) for each in ours[1:]] == [str(each) for each in theirs[1:]]
    pixels = np.zeros((20, 30), np.uint8)
    assert open_model(export).predict(Image.fromarray(pixels)).used == ("image",)


def test_quantising_leaves_the_logging_of_the_program_alone() -> None:
    """In a process of its own: pytest has set up logging."""
    script = (
        "import logging, onnx; from onnx import helper;"
        "from sentifuse.deploy.exporting import transformer_blocks;"
        "graph = helper.make_graph([], 'g', [], []);"
        "transformer_blocks.quantise(helper.make_model(graph));"
        "root = logging.getLogger(); assert (root.handlers, root.level) == ([], logging.WARNING)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
