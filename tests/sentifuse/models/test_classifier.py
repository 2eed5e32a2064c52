"""Tests of the classifier around the fusions."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sentifuse.config.recipe import ATTENDING
from sentifuse.encoders.interface import named_weights
from sentifuse.encoders.tails import build
from sentifuse.errors import UserError
from sentifuse.features.batches import Batch, Needs, States
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.fusion import FUSIONS, Dims
from tests.synthetic import (
    IMAGE,
    IMAGE_DIM,
    IMAGE_META,
    IMAGE_TAIL,
    IMAGE_TOKEN_DIM,
    TEXT,
    TEXT_DIM,
    TEXT_META,
    TEXT_TAIL,
    TEXT_TOKEN_DIM,
    encoders,
    model_config,
)

UNIMODAL_FUSIONS = [name for name in FUSIONS if name not in ATTENDING]
KEYS = {"image": IMAGE, "text": TEXT}


def make_batch(views: int = 1, seed: int = 0) -> Batch:
    """Three samples with texts of 2, 3 and 4 tokens."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return {
        IMAGE: States(
            embedding=normal(3, views, IMAGE_DIM),
            tokens=normal(3, 4, IMAGE_TOKEN_DIM),
            hidden=normal(3, views, 4, IMAGE_TOKEN_DIM),
        ),
        TEXT: States(
            embedding=normal(3, 1, TEXT_DIM),
            tokens=normal(3, 4, TEXT_TOKEN_DIM),
            hidden=normal(3, 4, TEXT_TOKEN_DIM),
            mask=torch.arange(4) < torch.arange(2, 5)[:, None],
        ),
    }


def changed(batch: Batch, key: str, **states: Any) -> Batch:
    """The same batch with other states of one encoder."""
    return {**batch, key: replace(batch[key], **states)}


def trainable(tails: bool) -> dict[str, Any]:
    """What a config says for both encoders to have their tails, or neither."""
    return {"encoders": encoders(IMAGE, TEXT) if tails else encoders()}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", UNIMODAL_FUSIONS)
@pytest.mark.parametrize("mode", ["text_only", "image_only"])
def test_an_absent_modality_changes_nothing(
    mode: str, fusion: str, tails: bool, training: bool
) -> None:
    torch.manual_seed(0)
    config = model_config(fusion=fusion, input_mode=mode, **trainable(tails))
    model = Classifier(config).train(training)
    batch, other = make_batch(seed=0), make_batch(seed=1)
    absent, present = (IMAGE, TEXT) if mode == "text_only" else (TEXT, IMAGE)
    logits = model(batch)
    assert torch.equal(model({**batch, absent: other[absent]}), logits)
    assert not torch.allclose(model({**batch, present: other[present]}), logits)


def test_an_absent_modality_is_zeros_behind_its_norm() -> None:
    model = Classifier(model_config(input_mode="text_only"))
    for weight in model.norms.parameters():
        nn.init.ones_(weight)
    batch = make_batch()
    text = model.norms[TEXT](batch[TEXT].embedding[:, 0])
    fused = torch.cat([torch.zeros(3, IMAGE_DIM), text], dim=1)
    torch.testing.assert_close(model(batch), model.head(fused))


class Zeros(nn.Module):
    """Stands in for a layer norm that has nothing to say."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", [("image",), ("text",), ("image", "text")])
def test_to_do_without_a_modality_is_to_have_zeros_for_its_normed_embedding_and_tokens(
    absent: tuple[str, ...], fusion: str, tails: bool
) -> None:
    torch.manual_seed(0)
    model = Classifier(model_config(fusion=fusion, **trainable(tails))).eval()
    for weight in model.norms.parameters():
        nn.init.normal_(weight)
    batch = make_batch(views=2)
    logits = model(batch, absent)
    # The same by hand: tails that give zeros for tokens, norms that give zeros for embeddings.
    silent = batch
    for key in (KEYS[name] for name in absent):
        tokens = batch[key].tokens
        assert tokens is not None
        silent = changed(silent, key, tokens=torch.zeros_like(tokens))
        model.norms[key] = Zeros()
        if tails:
            del model.tails[key]
    torch.testing.assert_close(logits, model(silent), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", ["image", "text"])
def test_what_the_model_does_without_changes_nothing(absent: str, fusion: str, tails: bool) -> None:
    torch.manual_seed(0)
    model = Classifier(model_config(fusion=fusion, **trainable(tails))).eval()
    batch, other, key = make_batch(seed=0), make_batch(seed=1), KEYS[absent]
    logits = model(batch, [absent])
    assert torch.equal(model({**batch, key: other[key]}, [absent]), logits)
    # Nor need it be there: an embedding only tells how many samples there are.
    gone = {**batch, key: States(other[key].embedding)}
    assert torch.equal(model(gone, [absent]), logits)
    assert not torch.allclose(model(batch), logits)


@pytest.mark.parametrize(("mode", "left_out"), [("text_only", "image"), ("image_only", "text")])
def test_a_unimodal_model_does_without_the_other_modality_anyway(mode: str, left_out: str) -> None:
    model = Classifier(model_config(input_mode=mode))
    batch = make_batch()
    assert torch.equal(model(batch, [left_out]), model(batch))
    both = model(batch, ["image", "text"])
    assert torch.equal(both, both[:1].expand(3, -1))
    # Without the one that it reads, it has nothing: it does not fall back on the other.
    read = "text" if left_out == "image" else "image"
    assert torch.equal(model(batch, [read]), both)
    assert not torch.allclose(both, model(batch))


def test_a_unimodal_model_is_the_multimodal_one_without_the_other_modality() -> None:
    multimodal, unimodal = (
        Classifier(model_config()),
        Classifier(model_config(input_mode="text_only")),
    )
    unimodal.load_state_dict(multimodal.state_dict())
    batch = make_batch()
    assert torch.equal(multimodal(batch, ["image"]), unimodal(batch))


def test_members_of_an_ensemble_do_without_the_same_modality() -> None:
    torch.manual_seed(0)
    members = [Classifier(model_config()) for _ in range(2)]
    batch = make_batch()
    votes = [member(batch, ["image"]).softmax(dim=1) for member in members]
    found = Ensemble(members)(batch, ["image"]).softmax(dim=1)
    torch.testing.assert_close(found, (votes[0] + votes[1]) / 2)


@pytest.mark.parametrize(("mode", "absent"), [("text_only", "image"), ("image_only", "text")])
def test_an_absent_modality_has_no_tail(mode: str, absent: str) -> None:
    model = Classifier(model_config(input_mode=mode, **trainable(True)))
    assert set(model.tails) == {IMAGE, TEXT} - {KEYS[absent]}
    assert model.needs == Needs(hidden=frozenset(model.tails))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("keys", [[], [IMAGE], [TEXT], [IMAGE, TEXT]])
def test_a_model_needs_what_enters_its_tails_and_tokens_only_to_attend(
    keys: list[str], fusion: str
) -> None:
    needs = Classifier(model_config(fusion=fusion, encoders=encoders(*keys))).needs
    assert needs.hidden == set(keys)
    assert needs.tokens == ({IMAGE, TEXT} if fusion in ATTENDING else set())
    assert needs.states == needs.hidden | needs.tokens


def test_logits_are_the_head_over_the_fused_layer_normed_embeddings() -> None:
    model = Classifier(model_config(hidden_dims=[8, 7])).eval()
    batch = make_batch()

    def normed(x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / (
            x.var(1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()

    x = torch.cat([normed(batch[key].embedding[:, 0]) for key in (IMAGE, TEXT)], dim=1)
    linears = [module for module in model.head if isinstance(module, nn.Linear)]
    assert [linear.out_features for linear in linears] == [8, 7, 3]
    for linear in linears[:-1]:
        x = (x @ linear.weight.T + linear.bias).clamp(min=0)
    torch.testing.assert_close(model(batch), x @ linears[-1].weight.T + linears[-1].bias)


def test_without_hidden_widths_the_head_is_linear() -> None:
    head = Classifier(model_config(hidden_dims=[])).head
    [only] = head
    assert isinstance(only, nn.Linear)


def test_dropout_in_the_head_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model = Classifier(model_config(hidden_dims=[64], dropout=0.5))
    batch = make_batch()
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_seed_draws_tails_first_then_projections_norms_fusion_and_head(
    fusion: str, tails: bool
) -> None:
    """So the numbers of a seed stay what they are."""
    torch.manual_seed(4)
    model = Classifier(model_config(fusion=fusion, **trainable(tails)))
    torch.manual_seed(4)
    expected: dict[str, nn.Module] = {}
    if tails:
        expected[f"tails.{IMAGE}"] = build(IMAGE_TAIL)
        expected[f"tails.{TEXT}"] = build(TEXT_TAIL)
    width = IMAGE_DIM
    if FUSIONS[fusion].equal_dims:
        width = TEXT_DIM
        expected[f"projections.{IMAGE}"] = nn.Linear(IMAGE_DIM, TEXT_DIM)
    expected[f"norms.{IMAGE}"] = nn.LayerNorm(width)
    expected[f"norms.{TEXT}"] = nn.LayerNorm(TEXT_DIM)
    fused = FUSIONS[fusion](Dims(width, TEXT_DIM, IMAGE_TOKEN_DIM, TEXT_TOKEN_DIM))
    expected["fusion"] = fused
    expected["head"] = nn.Sequential(nn.Linear(fused.out_dim, 8), nn.ReLU(), nn.Identity())
    expected["head.3"] = nn.Linear(8, 3)
    values = named_weights(expected)
    assert list(model.state_dict()) == list(values)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, values[name]), name


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("image_dim", [TEXT_DIM, IMAGE_DIM])
def test_images_are_projected_only_where_the_fusion_needs_equal_widths(
    fusion: str, image_dim: int
) -> None:
    image = replace(IMAGE_META, dim=image_dim, tail=None)
    both = (image, replace(TEXT_META, tail=None))
    model = Classifier(model_config(fusion=fusion, encoders=both))
    projected = FUSIONS[fusion].equal_dims and image_dim != TEXT_DIM
    assert list(model.projections) == ([IMAGE] if projected else [])
    batch = make_batch()
    narrow = batch[IMAGE].embedding[..., :image_dim]
    assert model(changed(batch, IMAGE, embedding=narrow)).shape == (3, 3)


def test_embeddings_of_several_views_are_averaged() -> None:
    model = Classifier(model_config())
    batch = make_batch(views=3)
    image = batch[IMAGE].embedding
    mean = (image[:, :1] + image[:, 1:2] + image[:, 2:]) / 3
    torch.testing.assert_close(model(batch), model(changed(batch, IMAGE, embedding=mean)))


def test_a_tail_encodes_each_view_and_the_embeddings_are_averaged() -> None:
    model = Classifier(model_config(encoders=encoders(IMAGE))).eval()
    batch = make_batch(views=2)
    hidden = batch[IMAGE].hidden
    assert hidden is not None
    views = [model.tails[IMAGE](hidden[:, view], None, False)[0] for view in range(2)]
    frozen = Classifier(model_config()).eval()
    frozen.load_state_dict(model.state_dict(), strict=False)
    mean = (views[0] + views[1]) / 2
    same = changed(batch, IMAGE, embedding=mean[:, None])
    torch.testing.assert_close(model(batch), frozen(same))


def test_attention_looks_at_the_first_view_and_at_the_tails_states() -> None:
    model = Classifier(model_config(fusion="cross_attn", **trainable(True))).eval()
    batch = make_batch(views=2)
    hidden = batch[IMAGE].hidden
    assert hidden is not None
    embeddings, tokens = model.tails[IMAGE](hidden.flatten(0, 1), None, True)
    text, text_tokens = model.tails[TEXT](batch[TEXT].hidden, batch[TEXT].mask, True)
    frozen = Classifier(model_config(fusion="cross_attn")).eval()
    frozen.load_state_dict(model.state_dict(), strict=False)
    same = {
        IMAGE: States(embeddings.unflatten(0, (3, 2)), tokens.unflatten(0, (3, 2))[:, 0]),
        TEXT: States(text[:, None], text_tokens, mask=batch[TEXT].mask),
    }
    torch.testing.assert_close(model(batch), frozen(same))


@pytest.mark.parametrize("mode", ["text_only", "image_only"])
def test_attention_needs_both_modalities(mode: str) -> None:
    with pytest.raises(UserError, match=f"^input_mode: '{mode}': .*'multimodal'$"):
        Classifier(model_config(fusion="cross_attn", input_mode=mode))


@pytest.mark.parametrize(("key", "missing"), [(IMAGE, "tokens"), (TEXT, "tokens"), (TEXT, "mask")])
def test_attention_without_token_states_says_how_to_get_them(key: str, missing: str) -> None:
    model = Classifier(model_config(fusion="cross_attn"))
    with pytest.raises(UserError, match=r"^fusion: 'cross_attn' .*backbone\.tokens=true$"):
        model(changed(make_batch(), key, **{missing: None}))


def test_each_encoder_runs_once_for_all_sets_of_absent_modalities() -> None:
    model = Classifier(model_config(**trainable(True))).eval()
    batch = make_batch()
    ran: list[str] = []
    for key, tail in model.tails.items():
        tail.register_forward_hook(lambda *_, key=key: ran.append(key))
    absences = [(), ("image",), ("text",), ("image", "text")]
    found = model.without(batch, absences)
    assert ran == [IMAGE, TEXT]
    for logits, absent in zip(found, absences, strict=True):
        torch.testing.assert_close(logits, model(batch, absent))
    ran.clear()
    model.without(batch, [("image",), ("image", "text")])
    assert ran == [TEXT]
