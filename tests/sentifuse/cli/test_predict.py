import argparse
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from sentifuse.cli import predict
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.predictor import Predictor
from sentifuse.errors import UserError
from tests.bundles import IMAGE, TEXT, make_bundle
from tools.encoder_folders import make_encoder_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("command"))


def run(*arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    predict.add_options(parser)
    predict.run(parser.parse_args([str(each) for each in arguments]))


def test_a_pair_is_told_to_people(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--model", made, "--text", "good day")
    *bars, blank, told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in bars] == ["negative", "neutral", "positive"]
    shares = [float(line.split()[1]) for line in bars]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert [line.count("█") for line in bars] == [round(0.3 * share) for share in shares]
    assert blank == ""
    assert ": text " in told
    assert "image" not in told


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252", "gbk"])
def test_bars_and_labels_are_what_the_terminal_can_show(
    made: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Prediction("开心", {"开心": 0.75, "坏": 0.25}, 0.75, 0.5, 0.0, 0.25, ("text",))
    fake = SimpleNamespace(predict=lambda *_: found, use_threads=lambda _: None)
    monkeypatch.setattr(Predictor, "load", lambda *_: fake)
    out = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(out, encoding, errors="backslashreplace"))
    run("--model", made, "--text", "x")
    sys.stdout.flush()
    block = "█" if encoding in ("utf-8", "gbk") else "#"
    assert out.getvalue().decode(encoding).count(block) == 30
    out.truncate(0)
    out.seek(0)
    run("--model", made, "--text", "x", "--json")
    sys.stdout.flush()
    assert json.loads(out.getvalue().decode(encoding))["label"] == "开心"


def test_a_pair_is_told_to_programs(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("--model", made, "--text", "good day", "--json")
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "label", "probabilities", "confidence", "text_contribution", "image_contribution", "base", "used"
    }  # fmt: skip
    assert found["used"] == ["text"]


def test_a_csv_is_predicted(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("text\ngood day\n\nbad\n,\n", encoding="utf-8")
    out = tmp_path / "out.csv"
    run("--model", made, "--csv", tmp_path / "a.csv", "--out", out, "--on-bad-row", "skip")
    assert capsys.readouterr().out == f"{out}: 2 rows, 1 passed over\n"
    assert len(out.read_text(encoding="utf-8").splitlines()) == 4
    with pytest.raises(UserError, match="1 bad rows: line 5"):
        run("--model", made, "--csv", tmp_path / "a.csv", "--out", out)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--text", ""],
        ["--csv", "a.csv"],
        ["--out", "b.csv"],
        ["--csv", "a.csv", "--out", "b.csv", "--text", "x"],
    ],
    ids=" ".join,
)
def test_one_thing_at_a_time(arguments: list[str]) -> None:
    with pytest.raises(UserError, match="expected --image and --text, or one of them, or else"):
        run(*arguments)


@pytest.mark.parametrize(
    "out",
    ["pairs.csv", "a.jpg", "t.txt", "bundle/config.json", "bundle/model.safetensors", "folder"],
)
def test_an_output_that_would_replace_an_input_is_refused_before_the_model_is_read(
    tmp_path: Path, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.csv").write_text(
        "image,text_file\nb.jpg,u.txt\na.jpg,t.txt\n", encoding="utf-8"
    )
    (tmp_path / "bundle").mkdir()
    (tmp_path / "folder").mkdir()
    for name in ("a.jpg", "t.txt", "bundle/config.json", "bundle/model.safetensors"):
        (tmp_path / name).write_text("kept", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(
        "sentifuse.deploy.predictor.Predictor.load", lambda *_: pytest.fail("it was read")
    )
    for policy in ("error", "skip"):
        with pytest.raises(UserError, match=f"--out .*{out}: (the output is the input|a folder)"):
            run(
                "--model", tmp_path / "bundle", "--csv", tmp_path / "pairs.csv",
                "--out", tmp_path / out, "--on-bad-row", policy,
            )  # fmt: skip
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_missing_csv_or_bundle_is_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.csv: no such file"):
        run("--model", made, "--csv", tmp_path / "a.csv", "--out", tmp_path / "b.csv")
    with pytest.raises(UserError, match=r"nowhere.*no such file: a bundle is a folder"):
        run("--model", tmp_path / "nowhere", "--text", "x")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], None),
        (["folder"], "folder"),
        (["org/model@v=1"], "org/model@v=1"),
        (["/a=b/c"], "/a=b/c"),
        (["text_bert=folder"], {"text_bert": "folder"}),
        (["image_a-2=x/y", "text_b=/c=d"], {"image_a-2": "x/y", "text_b": "/c=d"}),
    ],
    ids=str,
)
def test_encoders_are_elsewhere_by_key_or_all_at_one_place(
    given: list[str], expected: str | dict[str, str] | None
) -> None:
    assert predict.places(given) == expected


@pytest.mark.parametrize(
    "given", [["a", "b"], ["a", "text_b=c"], ["text_b=c", "text_b=d"]], ids=" ".join
)
def test_several_places_need_a_key_each(given: list[str]) -> None:
    told = f"--backbone {' '.join(given)}: expected one NAME, or KEY=NAME for each encoder"
    with pytest.raises(UserError) as error:
        predict.places(given)
    assert str(error.value) == told


def test_a_pair_is_predicted_with_encoders_that_were_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bert = make_encoder_folder("bert", tmp_path / "bert")
    made = make_bundle(tmp_path, more_texts=[str(bert)])
    capsys.readouterr()
    run("--model", made, "--text", "good day", "--json")
    expected = capsys.readouterr().out
    moved = [tmp_path / "moved-clip", tmp_path / "moved-bert"]
    shutil.move(tmp_path / "clip", moved[0])
    shutil.move(bert, moved[1])
    places = {IMAGE: moved[0], TEXT: moved[0], "text_bert": moved[1]}
    options = [part for key, place in places.items() for part in ("--backbone", f"{key}={place}")]
    run("--model", made, "--text", "good day", "--json", *options)
    assert capsys.readouterr().out == expected
    with pytest.raises(UserError, match=f"no such encoder: expected one of {', '.join(places)}$"):
        run("--model", made, "--text", "good day", "--backbone", "text_brt=folder")


def saved(folder: Path) -> Path:
    Image.new("RGB", (40, 30), "red").save(folder / "a.png")
    return folder / "a.png"


def test_an_explanation_is_a_page_or_json(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ["--model", made, "--image", saved(tmp_path), "--text", "good <b>day</b>"]
    run(*pair, "--explain", tmp_path / "a.json")
    assert capsys.readouterr().out.endswith(
        f"\n\n{tmp_path}/a.json: which words and parts of the picture\n"
    )
    found = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(found) == ["prediction", "text", "words", "grid"]
    assert [word["text"] for word in found["words"]] == [
        "good",
        "<",
        "b",
        ">",
        "day",
        "</",
        "b",
        ">",
    ]
    assert [len(row) for row in found["grid"]] == [4] * 4
    run(*pair, "--explain", tmp_path / "new" / "a.html", "--json")
    assert json.loads(capsys.readouterr().out)["label"] == found["prediction"]["label"]
    page = (tmp_path / "new" / "a.html").read_text(encoding="utf-8")
    assert "data:image/jpeg;base64," in page
    assert "<b>" not in page
    # The same class with the same share, whether it is explained or not.
    assert f"<h1>{found['prediction']['label']}, " in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--text", "x", "--explain", "a.pdf"], r"--explain a\.pdf: expected .* \.html or \.json"),
        (["--text", "x", "--explain", "a"], r"--explain a: expected"),
        (["--csv", "a.csv", "--out", "b.csv", "--explain", "a.html"], "explains one pair: give --image and"),
        (["--image", "a.json", "--explain", "a.json"], r"a\.json: the output is the input a\.json"),
        (["--text", "x", "--explain", "new/"], "--explain new: expected"),
        (["--explain", "a.html"], "expected --image and --text, or one of them"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)  # fmt: skip
def test_what_cannot_be_explained_is_refused_before_the_model_is_read(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text("kept", encoding="utf-8")
    monkeypatch.setattr(Predictor, "load", lambda *_: pytest.fail("it was read"))
    with pytest.raises(UserError, match=told):
        run("--model", "nowhere", *arguments)
    assert Path("a.json").read_text(encoding="utf-8") == "kept"


def test_a_page_wants_jinja_and_json_does_not(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"run `pip install jinja2`, or write a \.json file"):
        run("--model", made, "--text", "good", "--explain", tmp_path / "a.html")
    run("--model", made, "--text", "good", "--explain", tmp_path / "a.json")
    assert (tmp_path / "a.json").exists()


def test_the_default_is_the_export_of_the_bundle_that_is_there(tmp_path: Path) -> None:
    bundle, export = tmp_path / "bundle", tmp_path / "export"

    def found() -> Path:
        return predict.default_model(bundle, export)

    assert found() == bundle  # loading it says what to run
    for folder in (bundle, export):
        folder.mkdir()
    (export / "export.json").write_text('{"sha256": "b", "bundle": "a"}')
    assert found() == export
    (bundle / "config.json").write_text('{"sha256": "a"}')
    assert found() == export
    (bundle / "config.json").write_text('{"sha256": "c"}')
    assert found() == bundle  # it was trained since
    (export / "export.json").write_text("{")
    assert found() == bundle


@pytest.mark.parametrize(
    ("options", "needs_bundle", "expected"),
    [
        ([], False, "models/export"),
        (["--model", "mine"], True, "mine"),
        (["--backbone", "clip"], False, "models/bundle"),
        ([], True, "models/bundle"),
    ],
)
def test_what_an_export_cannot_do_takes_the_bundle(
    options: list[str], needs_bundle: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "default_model", lambda: Path("models/export"))
    parser = argparse.ArgumentParser()
    predict.add_bundle_options(parser)
    assert predict.model_of(parser.parse_args(options), needs_bundle) == Path(expected)
