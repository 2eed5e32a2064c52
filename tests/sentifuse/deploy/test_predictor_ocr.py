"""Tests of a bundle whose model reads the text in pictures."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from sentifuse.data.splits import SplitRow
from sentifuse.deploy import bundle, loading
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.predictor import Predictor
from sentifuse.encoders import ocr
from sentifuse.errors import UserError
from sentifuse.evaluation import incomplete
from sentifuse.evaluation.incomplete import Predicted
from sentifuse.features import encoding_record
from sentifuse.features.engines import local
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier
from tests.bundles import PARAMS, SAMPLES, scores
from tests.fake_ocr import IMAGE, OCR, TEXT, TEXTS, FakeReader, install, picture, preprocessed
from tests.serial_pool import SerialPool
from tests.synthetic import model_config
from tools.clip_folder import make_clip_folder

# As in the manifest of `preprocessed`: four complete pairs, one without an image, one without a text.
PAIRS = [
    *(Pair(picture(number), text) for number, text in enumerate(TEXTS)),
    Pair(None, TEXTS[0]),
    Pair(picture(2), None),
]
MISSING = {"g4": "image", "g5": "text"}


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    return install(monkeypatch)


def make(folder: Path, input_mode: str = "multimodal") -> tuple[Path, Predicted]:
    """Writes a bundle, and gives what `infer` says of all samples."""
    features, record, _ = preprocessed(folder, make_clip_folder(folder / "clip"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = model_config(encoders=features.meta.encoders, input_mode=input_mode)
        model = Classifier(config).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    info = {"predict_views": "mean", "temperature": 1.5}
    checkpoint.save(folder / "trained", model, info)
    data = {"name": "pairs", "samples": SAMPLES}
    how = bundle.Provenance(asdict(record), data, PARAMS, {"test": scores()})
    bundle.save(folder / "bundle", folder / "trained", how, name="tiny", licence="mit")
    rows = [SplitRow("x", "neutral", "train", "")]
    rows += [SplitRow(guid, "", "predict", "") for guid in features.guids]
    [found] = incomplete.predict(model, features, rows, MISSING, "mean", 1.5)
    return folder / "bundle", found


@pytest.mark.parametrize("input_mode", ["multimodal", "text_only", "image_only"])
def test_the_figures_are_those_of_infer(tmp_path: Path, input_mode: str) -> None:
    made, expected = make(tmp_path, input_mode)
    predictor = Predictor.load(made)
    found = list(predictor.try_many(PAIRS))
    without = {"text_only": [5], "image_only": [4]}.get(input_mode, [])
    for place, prediction in enumerate(found):
        if place in without:
            assert isinstance(prediction, UserError)
            continue
        assert not isinstance(prediction, UserError)
        probabilities = expected.found.probabilities[place]
        assert list(prediction.probabilities.values()) == pytest.approx(probabilities, abs=1e-12)
        added = expected.found.text[place, probabilities.argmax()]
        assert prediction.text_contribution == pytest.approx(added, abs=1e-12)


def test_the_text_in_the_picture_matters_beside_a_text_only(
    tmp_path: Path, reader: FakeReader
) -> None:
    made, _ = make(tmp_path, "text_only")
    predictor = Predictor.load(made)
    reader.seen = 0
    found = [predictor.predict(picture(number), "good").probabilities for number in range(4)]
    assert found[0] == found[3]
    assert found[0] != found[1]
    assert found[0] != found[2]
    assert predictor.predict(None, "good").probabilities == found[1]
    assert reader.seen == 4
    with pytest.raises(UserError, match="nothing to predict: the model reads text"):
        predictor.predict(picture(0))
    assert reader.seen == 4


def test_a_batch_gives_what_each_pair_alone_gives_and_copies_are_read_once(
    tmp_path: Path, reader: FakeReader
) -> None:
    predictor = Predictor.load(make(tmp_path)[0])
    reader.seen = 0
    together = list(predictor.predict_many([*PAIRS, PAIRS[0]]))
    assert reader.seen == 4
    for pair, found in zip([*PAIRS, PAIRS[0]], together, strict=True):
        alone = predictor.predict(pair.image, pair.text)
        assert found.probabilities == pytest.approx(alone.probabilities, abs=1e-12)


def test_the_encoder_is_loaded_once_and_another_place_is_for_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = make(tmp_path)
    record = loading.load(made).encoding
    (tmp_path / "clip").rename(tmp_path / "moved")
    moved = str(tmp_path / "moved")
    for places in (moved, {IMAGE: moved, TEXT: moved}):
        backbone = loading.load_backbone(made, record, places)
        assert list(backbone) == [IMAGE, TEXT, OCR]
        assert backbone[OCR] is backbone[TEXT]
    with pytest.raises(UserError, match=f"no such encoder: expected one of {IMAGE}, {TEXT}$"):
        loading.load_backbone(made, record, {OCR: moved})


def test_another_reader_is_refused_and_other_libraries_are_told(
    tmp_path: Path, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = make(tmp_path)
    assert "for the text in images, of which" in (made / "README.md").read_text(encoding="utf-8")
    here = {**ocr.versions(), "opencv": "2"}
    monkeypatch.setattr(ocr, "versions", lambda: here)
    with pytest.warns(UserWarning, match=r"trained with opencv 1 \(here 2\)"):
        Predictor.load(made)
    monkeypatch.setattr(ocr, "versions", lambda: {**here, "opencv": "1"})
    reader.fingerprint = "e" * 64
    with pytest.raises(UserError, match=r"reader of text in images ffff.* but here is eeee"):
        Predictor.load(made)


@pytest.mark.pipeline  # as of `exporting/test_export.py`
@pytest.mark.parametrize("input_mode", ["multimodal", "text_only"])
def test_an_export_reads_pictures_too(
    tmp_path: Path, input_mode: str, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    from sentifuse.deploy.exporting import samples, write
    from sentifuse.exported import Predictor as ExportedPredictor

    made, _ = make(tmp_path, input_mode)
    monkeypatch.setattr(samples, "made", lambda: samples.Samples(PAIRS[:4], None))
    write.export(made, tmp_path / "export", int8=False)
    ours, theirs = (
        list(each.load(folder).predict_many(PAIRS[:5]))
        for each, folder in ((ExportedPredictor, tmp_path / "export"), (Predictor, made))
    )
    for one, other in zip(ours, theirs, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert one.used == other.used
    assert ours[0].probabilities != ours[1].probabilities
    reader.fingerprint = "e" * 64
    with pytest.raises(UserError, match=r"reader of text in images ffff.* but here is eeee"):
        ExportedPredictor.load(tmp_path / "export")


def test_versions_of_the_reader_are_on_record_only_if_it_is_used() -> None:
    assert "opencv" in encoding_record.versions(True)
    assert "opencv" not in encoding_record.versions()
