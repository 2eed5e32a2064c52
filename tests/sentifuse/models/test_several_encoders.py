"""Tests of classifiers that read several encoders of a modality."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.config.backbone import Modality
from sentifuse.config.recipe import ATTENDING
from sentifuse.features.batches import Batch, Needs, States
from sentifuse.features.parts import Parts
from sentifuse.features.schema import EncoderMeta
from sentifuse.models import inference
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.fusion import FUSIONS
from sentifuse.models.inference import predict
from tests.several import KEYS, METAS, OTHER_IMAGE, OTHER_TEXT, WEIGHTS, encoders, make_several
from tests.synthetic import IMAGE, TEXT, model_config

OF = {"image": (IMAGE, OTHER_IMAGE), "text": (TEXT, OTHER_TEXT)}
EQUAL_WIDTHS = [name for name in FUSIONS if FUSIONS[name].equal_dims]
UNIMODAL_FUSIONS = [name for name in FUSIONS if name not in ATTENDING]
EVERYTHING = Needs(tokens=frozenset(KEYS))


@pytest.fixture(scope="module")
def parts() -> Parts:
    return make_several(train=9, val=0, noise=1.0, views=2)


def classifier(*trainable: str, seed: int = 0, **changes: Any) -> Classifier:
    """A model of the four encoders with random weights, those of the norms too, in eval mode."""
    torch.manual_seed(seed)
    model = Classifier(model_config(**{"encoders": encoders(*trainable), **changes})).eval()
    for weight in model.norms.parameters():
        nn.init.normal_(weight)
    return model


def fused_from(model: Classifier, batch: Batch, absent: Sequence[str] = ()) -> tuple[Tensor, ...]:
    """v, t, and the tokens of image and text if there are any, as the fusion gets them."""
    seen: list[Any] = []
    handle = model.fusion.register_forward_hook(lambda _, given, out: seen.extend(given))
    model(batch, absent)
    handle.remove()
    v, t, tokens = seen
    return (v, t) if tokens is None else (v, t, tokens.image, tokens.text)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_v_and_t_are_the_layer_normed_embeddings_of_their_encoders_side_by_side(
    fusion: str, parts: Parts
) -> None:
    model = classifier(fusion=fusion)
    batch = parts.train.batch(np.arange(9), EVERYTHING, "mean")
    v, t, *_ = fused_from(model, batch)
    weights = model.state_dict()
    expected: dict[str, list[Tensor]] = {"image": [], "text": []}
    for modality, keys in OF.items():
        for key in keys:
            x = batch[key].embedding.mean(dim=1)
            if f"projections.{key}.weight" in weights:
                x = x @ weights[f"projections.{key}.weight"].T + weights[f"projections.{key}.bias"]
            scale, shift = (weights[f"norms.{key}.{name}"] for name in ("weight", "bias"))
            expected[modality].append(F.layer_norm(x, x.shape[1:], scale, shift))
    torch.testing.assert_close(v, torch.cat(expected["image"], dim=1))
    torch.testing.assert_close(t, torch.cat(expected["text"], dim=1))
    assert t.shape == (9, 4 + 3)
    assert v.shape == (9, 4 + 3 if fusion in EQUAL_WIDTHS else 6 + 5)


def metas(modality: Modality, dims: Sequence[int]) -> list[EncoderMeta]:
    return [
        EncoderMeta(f"{modality}_{place}", modality, dim, 8, None, "")
        for place, dim in enumerate(dims)
    ]


@pytest.mark.parametrize("fusion", EQUAL_WIDTHS)
@pytest.mark.parametrize(
    ("images", "texts", "shares"),
    [
        ([6, 5], [4, 4], [4, 4]),
        ([6, 5], [4, 3], [4, 3]),
        ([6], [4, 3], [7]),
        ([6, 5], [9], [5, 4]),
        ([6, 5, 4], [8], [3, 3, 2]),
        ([6, 5, 4], [7], [3, 2, 2]),
    ],
)
def test_equal_widths_give_each_image_encoder_a_share_of_the_texts_width(
    fusion: str, images: list[int], texts: list[int], shares: list[int]
) -> None:
    both = [*metas("image", images), *metas("text", texts)]
    model = Classifier(model_config(fusion=fusion, encoders=both)).eval()
    found = [model.state_dict()[f"norms.image_{place}.weight"] for place in range(len(images))]
    assert [len(weight) for weight in found] == shares
    assert sum(shares) == sum(texts)
    batch = {each.key: States(torch.randn(2, 1, each.dim)) for each in both}
    v, t = fused_from(model, batch)
    assert v.shape == t.shape == (2, sum(texts))
    assert model(batch).shape == (2, 3)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_encoder_that_has_the_width_of_its_share_is_not_projected(fusion: str) -> None:
    both = [*metas("image", [6, 4]), *metas("text", [5, 3])]
    model = Classifier(model_config(fusion=fusion, encoders=both))
    assert list(model.projections) == (["image_0"] if fusion in EQUAL_WIDTHS else [])


@pytest.mark.parametrize(
    ("fusion", "mode"),
    [
        *((fusion, "multimodal") for fusion in FUSIONS),
        *((fusion, mode) for fusion in UNIMODAL_FUSIONS for mode in ("text_only", "image_only")),
    ],
)
@pytest.mark.parametrize("trainable", [(), (IMAGE,), (OTHER_IMAGE, OTHER_TEXT), KEYS])
def test_a_model_needs_what_enters_its_tails_and_the_tokens_of_the_first_encoders_to_attend(
    trainable: tuple[str, ...], fusion: str, mode: str
) -> None:
    needs = classifier(*trainable, fusion=fusion, input_mode=mode).needs
    absent = {"text_only": OF["image"], "image_only": OF["text"]}.get(mode, ())
    assert needs.hidden == set(trainable) - set(absent)
    assert needs.tokens == ({IMAGE, TEXT} if fusion in ATTENDING else set())


@pytest.mark.parametrize("trainable", [(), KEYS])
def test_attention_reads_the_tokens_of_the_first_encoder_of_each_modality(
    trainable: tuple[str, ...], parts: Parts
) -> None:
    model = classifier(*trainable, fusion="cross_attn")
    for key, tail in model.tails.items():
        tail.load_state_dict(WEIGHTS[key])
    batch = parts.train.batch(np.arange(9), model.needs, "mean")
    _, _, image, text = fused_from(model, batch)
    stored = parts.train.batch(np.arange(9), EVERYTHING)
    real, patches, words = stored[TEXT].mask, stored[IMAGE].tokens, stored[TEXT].tokens
    assert real is not None
    assert patches is not None
    assert words is not None
    torch.testing.assert_close(image, patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(text[real], words[real], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_only_tails_whose_tokens_are_read_are_asked_for_them(fusion: str, parts: Parts) -> None:
    model = classifier(*KEYS, fusion=fusion)
    asked: set[str] = set()
    for key, tail in model.tails.items():

        def note(_: nn.Module, given: tuple[Any, ...], key: str = key) -> None:
            asked.update([key] if given[2] else [])

        tail.register_forward_pre_hook(note)
    model(parts.train.batch(np.arange(9), model.needs))
    assert asked == model.needs.tokens == ({IMAGE, TEXT} if fusion in ATTENDING else set())


def test_attention_does_without_the_tokens_of_the_other_encoders(parts: Parts) -> None:
    model = classifier(fusion="cross_attn")
    batch = parts.train.batch(np.arange(9), EVERYTHING)
    logits = model(batch)
    gone = {key: replace(batch[key], tokens=None, mask=None) for key in (OTHER_IMAGE, OTHER_TEXT)}
    assert torch.equal(model({**batch, **gone}), logits)
    for key in (IMAGE, TEXT):
        tokens = batch[key].tokens
        assert tokens is not None
        changed = {**batch, key: replace(batch[key], tokens=tokens + torch.randn_like(tokens))}
        assert not torch.equal(model(changed), logits)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("trainable", [(OTHER_IMAGE,), (TEXT, OTHER_TEXT), KEYS])
def test_an_encoder_with_a_tail_counts_by_what_that_gives_and_the_others_as_stored(
    trainable: tuple[str, ...], fusion: str, parts: Parts
) -> None:
    model, frozen = classifier(*trainable, fusion=fusion), classifier(fusion=fusion)
    frozen.load_state_dict(model.state_dict(), strict=False)
    batch = parts.train.batch(np.arange(9), model.needs, "mean")
    same = dict(batch)
    for key in trainable:
        hidden, mask = batch[key].hidden, batch[key].mask
        assert hidden is not None
        flat = hidden.flatten(0, 1) if mask is None else hidden
        embedding, tokens = model.tails[key](flat, mask, True)
        if mask is None:
            embedding, tokens = embedding.unflatten(0, (9, 2)), tokens.unflatten(0, (9, 2))[:, 0]
        else:
            embedding = embedding[:, None]
        same[key] = States(embedding, tokens, mask=mask)
    torch.testing.assert_close(model(batch), frozen(same), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trainable", [(), (OTHER_IMAGE, TEXT), KEYS])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", ["image", "text"])
def test_without_a_modality_all_of_its_encoders_are_zeros_behind_their_norms(
    absent: str, fusion: str, trainable: tuple[str, ...], parts: Parts
) -> None:
    model = classifier(*trainable, fusion=fusion)
    batch = parts.train.batch(np.arange(9), model.needs, "mean")
    found = fused_from(model, batch, [absent])
    present = fused_from(model, batch)
    place = ("image", "text").index(absent)
    assert found[place].shape == present[place].shape
    for own in found[place::2]:  # embeddings and tokens
        assert not own.any()
    for kept, expected in zip(found[1 - place :: 2], present[1 - place :: 2], strict=True):
        assert torch.equal(kept, expected)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", ["image", "text"])
def test_what_the_model_does_without_changes_nothing(
    absent: str, fusion: str, parts: Parts
) -> None:
    model = classifier(*KEYS, fusion=fusion)
    batch = parts.train.batch(np.arange(4), model.needs)
    other = parts.train.batch(np.arange(4, 8), model.needs)
    logits = model(batch, [absent])
    for key in OF[absent]:
        gone = {**batch, key: States(other[key].embedding)}
        assert torch.equal(model(gone, [absent]), logits)
        assert not torch.allclose(model({**batch, key: other[key]}), model(batch))


@pytest.mark.parametrize("fusion", UNIMODAL_FUSIONS)
@pytest.mark.parametrize(("mode", "absent"), [("text_only", "image"), ("image_only", "text")])
def test_a_unimodal_model_has_the_tails_of_its_own_modality_only(
    mode: str, absent: str, fusion: str, parts: Parts
) -> None:
    unimodal, multimodal = (
        classifier(*KEYS, fusion=fusion, input_mode=mode),
        classifier(*KEYS, fusion=fusion),
    )
    assert set(unimodal.tails) == set(KEYS) - set(OF[absent])
    multimodal.load_state_dict(unimodal.state_dict(), strict=False)
    batch = parts.train.batch(np.arange(9), multimodal.needs)
    assert torch.equal(unimodal(batch), multimodal(batch, [absent]))


def test_each_encoder_runs_once_for_all_sets_of_absent_modalities(parts: Parts) -> None:
    model, ran = classifier(*KEYS), []
    for key, tail in model.tails.items():
        tail.register_forward_hook(lambda *_, key=key: ran.append(key))
    batch = parts.train.batch(np.arange(9), model.needs, "mean")
    absences = [(), ("image",), ("text",), ("image", "text")]
    found = model.without(batch, absences)
    assert ran == list(KEYS)
    for logits, absent in zip(found, absences, strict=True):
        torch.testing.assert_close(logits, model(batch, absent))
    ran.clear()
    model.without(batch, [("image",), ("image", "text")])
    assert ran == list(OF["text"])


@pytest.mark.parametrize("trainable", [(), (IMAGE, OTHER_TEXT), KEYS])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross_attn"])
def test_predictions_are_in_order_and_do_not_depend_on_batches(
    fusion: str,
    trainable: tuple[str, ...],
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = classifier(*trainable, fusion=fusion)
    monkeypatch.setitem(inference._BATCH, "cpu", 4)
    logits = predict(model, parts.train, "mean")
    for index in range(9):
        one = replace(parts.train, rows=parts.train.rows[index : index + 1])
        torch.testing.assert_close(predict(model, one, "mean")[0], logits[index])


def test_members_of_an_ensemble_need_what_each_of_them_reads(parts: Parts) -> None:
    members = [classifier(*KEYS, seed=seed, fusion="cross_attn") for seed in range(2)]
    ensemble = Ensemble(members)
    assert ensemble.needs == Needs(tokens=frozenset({IMAGE, TEXT}), hidden=frozenset(KEYS))
    batch = parts.train.batch(np.arange(9), ensemble.needs, "mean")
    votes = [member(batch).softmax(dim=1) for member in members]
    torch.testing.assert_close(ensemble(batch).softmax(dim=1), (votes[0] + votes[1]) / 2)


def test_encoders_stand_in_the_order_of_the_config(parts: Parts) -> None:
    model = classifier(fusion="cross_attn")
    turned = [replace(METAS[place], tail=None) for place in (1, 0, 3, 2)]
    other = classifier(fusion="cross_attn", encoders=turned)
    other.norms.load_state_dict(model.norms.state_dict())
    batch = parts.train.batch(np.arange(9), EVERYTHING)
    v, t, image, text = fused_from(other, batch)
    own_v, own_t, *_ = fused_from(model, batch)
    assert torch.equal(v, torch.cat([own_v[:, 6:], own_v[:, :6]], dim=1))
    assert torch.equal(t, torch.cat([own_t[:, 4:], own_t[:, :4]], dim=1))
    assert image is batch[OTHER_IMAGE].tokens
    assert text is batch[OTHER_TEXT].tokens
