"""Tests of folders of sentence-transformers: embeddings are those of the library itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Pooling, Transformer

from sentifuse.encoders import registry
from sentifuse.errors import UserError
from tools.encoder_folders import make_encoder_folder

TEXTS = ["the good day", "bad", "so bad the food was as bad as the day"]


def make_folder(tmp_path: Path, mode: str, family: str = "bert", dense: Any = None) -> Path:
    word = Transformer(str(make_encoder_folder(family, tmp_path / "plain")), max_seq_length=20)
    modules: list[Any] = [word, Pooling(24, pooling_mode=mode)]
    if dense is not None:
        torch.manual_seed(0)
        modules.append(Dense(24, 6, activation_function=dense))
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"))
    return tmp_path / "model"


def embeddings(folder: Path) -> torch.Tensor:
    own: Any = registry.load(str(folder), "text")
    rows = own.tokenize(TEXTS)
    return torch.cat([own.encode(torch.tensor([ids]), 1, False).embedding for ids in rows])


def expected(folder: Path) -> torch.Tensor:
    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)


@pytest.mark.parametrize("family", ["bert", "deberta-v2", "albert"])
@pytest.mark.parametrize("mode", ["mean", "cls", "max", "lasttoken"])
def test_pooling_is_that_of_the_folders_file(mode: str, family: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, mode, family)
    if family == "albert":
        own: Any = registry.load(str(folder), "text")
        rows = own.tokenize(TEXTS)
        found = torch.cat([own.encode(torch.tensor([ids]), 0, False).embedding for ids in rows])
    else:
        found = embeddings(folder)
    torch.testing.assert_close(found, expected(folder), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [torch.nn.Tanh(), torch.nn.Identity()])
def test_a_dense_layer_behind_the_pooling_is_part_of_the_encoder(
    activation: torch.nn.Module, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, "mean", dense=activation)
    found = embeddings(folder)
    assert found.shape == (3, 6)
    torch.testing.assert_close(found, expected(folder), rtol=1e-4, atol=1e-5)
    own: Any = registry.load(str(folder), "text")
    assert own.tail(1).config["projection_dim"] == 6


def test_texts_are_cut_where_its_authors_cut_them(tmp_path: Path) -> None:
    own: Any = registry.load(str(make_folder(tmp_path, "mean")), "text")
    assert own.max_tokens == 20


def test_the_old_keys_of_the_pooling_file_are_read(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "mean")
    [path] = folder.glob("1_Pooling/config.json")
    keys = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    path.write_text(json.dumps({"word_embedding_dimension": 24, **keys}))
    own: Any = registry.load(str(folder), "text")
    assert own.tail(1).config["pool"] == "first"


@pytest.mark.parametrize(
    ("file", "contents", "told"),
    [
        ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}, "pooling ['weightedmean']: expected"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pooling ['mean', 'max']"),
        ("1_Pooling/config.json", {}, "pooling []: expected one of cls, mean, max, lasttoken"),
        ("1_Pooling/config.json", None, "no such file, but modules.json names it"),
        ("modules.json", [{"type": "a.b.CNN", "path": "2_CNN"}], "a module of type 'CNN'"),
        ("modules.json", [1], "modules.json: cannot be used"),
        ("sentence_bert_config.json", {"max_seq_length": "x"}, "max_seq_length: 'x': expected"),
    ],
)  # fmt: skip
def test_what_is_not_done_here_is_refused(
    file: str, contents: object, told: str, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path, "mean")
    if contents is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(json.dumps(contents))
    with pytest.raises(UserError) as caught:
        registry.load(str(folder), "text")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dense_layer_with_another_activation_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "mean", dense=torch.nn.ReLU())
    with pytest.raises(UserError, match=r"activation_function: .*expected torch\.nn\.Tanh"):
        registry.load(str(folder), "text")


def test_a_dense_layer_behind_a_model_without_a_tail_is_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "mean", "albert", dense=torch.nn.Tanh())
    with pytest.raises(UserError, match="a dense layer behind a model of type 'albert'"):
        registry.load(str(folder), "text")
