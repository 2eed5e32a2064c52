"""Tests of the classifier around the fusions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sentifuse.config.recipe import ATTENDING
from sentifuse.errors import UserError
from sentifuse.features.batches import Batch
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.fusion import FUSIONS
from tests.synthetic import (
    IMAGE_DIM,
    IMAGE_TAIL,
    IMAGE_TOKEN_DIM,
    TEXT_DIM,
    TEXT_TAIL,
    TEXT_TOKEN_DIM,
    model_config,
)

UNIMODAL_FUSIONS = [name for name in FUSIONS if name not in ATTENDING]


def make_batch(views: int = 1, seed: int = 0) -> Batch:
    """Three samples with texts of 2, 3 and 4 tokens."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Batch(
        image=normal(3, views, IMAGE_DIM),
        text=normal(3, TEXT_DIM),
        text_mask=torch.arange(4) < torch.arange(2, 5)[:, None],
        text_tokens=normal(3, 4, TEXT_TOKEN_DIM),
        text_hidden=normal(3, 4, TEXT_TOKEN_DIM),
        image_tokens=normal(3, 4, IMAGE_TOKEN_DIM),
        image_hidden=normal(3, views, 4, IMAGE_TOKEN_DIM),
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", UNIMODAL_FUSIONS)
@pytest.mark.parametrize("mode", ["text_only", "image_only"])
def test_an_absent_modality_changes_nothing(
    mode: str, fusion: str, tails: bool, training: bool
) -> None:
    torch.manual_seed(0)
    changes = {"image_tail": IMAGE_TAIL, "text_tail": TEXT_TAIL} if tails else {}
    model = Classifier(model_config(fusion=fusion, input_mode=mode, **changes)).train(training)
    batch, other = make_batch(seed=0), make_batch(seed=1)
    image = {"image": other.image, "image_hidden": other.image_hidden}
    text = {"text": other.text, "text_hidden": other.text_hidden}
    absent, present = (image, text) if mode == "text_only" else (text, image)
    logits = model(batch)
    assert torch.equal(model(replace(batch, **absent)), logits)
    assert not torch.allclose(model(replace(batch, **present)), logits)


def test_an_absent_modality_is_zeros_behind_its_norm() -> None:
    model = Classifier(model_config(input_mode="text_only"))
    nn.init.ones_(model.image_norm.bias)
    batch = make_batch()
    fused = torch.cat([torch.zeros(3, IMAGE_DIM), model.text_norm(batch.text)], dim=1)
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
    changes = {"image_tail": IMAGE_TAIL, "text_tail": TEXT_TAIL} if tails else {}
    model = Classifier(model_config(fusion=fusion, **changes)).eval()
    for norm in (model.image_norm, model.text_norm):
        nn.init.normal_(norm.bias)
    batch = make_batch(views=2)
    logits = model(batch, absent)
    # The same by hand: tails that give zeros for tokens, norms that give zeros for embeddings.
    silent = {"image_tokens": torch.zeros(3, 4, IMAGE_TOKEN_DIM)} if "image" in absent else {}
    if "text" in absent:
        silent["text_tokens"] = torch.zeros(3, 4, TEXT_TOKEN_DIM)
    for name in absent:
        setattr(model, f"{name}_norm", Zeros())
        setattr(model, f"{name}_tail", None)
    torch.testing.assert_close(logits, model(replace(batch, **silent)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("absent", ["image", "text"])
def test_what_the_model_does_without_changes_nothing(absent: str, fusion: str, tails: bool) -> None:
    torch.manual_seed(0)
    changes = {"image_tail": IMAGE_TAIL, "text_tail": TEXT_TAIL} if tails else {}
    model = Classifier(model_config(fusion=fusion, **changes)).eval()
    batch, other = make_batch(seed=0), make_batch(seed=1)
    own = {name: getattr(other, name) for name in vars(other) if name.startswith(absent)}
    logits = model(batch, [absent])
    assert torch.equal(model(replace(batch, **own), [absent]), logits)
    # Nor need it be there: an embedding only tells how many samples there are.
    gone = {name: None for name in own if name != absent}
    assert torch.equal(model(replace(batch, **gone), [absent]), logits)
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
    model = Classifier(model_config(input_mode=mode, image_tail=IMAGE_TAIL, text_tail=TEXT_TAIL))
    built = {"image": model.image_tail is not None, "text": model.text_tail is not None}
    assert built == {"image": absent != "image", "text": absent != "text"}


def test_logits_are_the_head_over_the_fused_layer_normed_embeddings() -> None:
    model = Classifier(model_config(hidden_dims=[8, 7])).eval()
    batch = make_batch()

    def normed(x: Tensor) -> Tensor:
        return (x - x.mean(1, keepdim=True)) / (
            x.var(1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()

    x = torch.cat([normed(batch.image[:, 0]), normed(batch.text)], dim=1)
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


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("image_dim", [TEXT_DIM, IMAGE_DIM])
def test_images_are_projected_only_where_the_fusion_needs_equal_widths(
    fusion: str, image_dim: int
) -> None:
    model = Classifier(model_config(fusion=fusion, image_dim=image_dim))
    projected = any(name.startswith("image_proj") for name, _ in model.named_parameters())
    assert projected == (FUSIONS[fusion].equal_dims and image_dim != TEXT_DIM)
    batch = make_batch()
    assert model(replace(batch, image=batch.image[..., :image_dim])).shape == (3, 3)


def test_embeddings_of_several_views_are_averaged() -> None:
    model = Classifier(model_config())
    batch = make_batch(views=3)
    mean = (batch.image[:, :1] + batch.image[:, 1:2] + batch.image[:, 2:]) / 3
    torch.testing.assert_close(model(batch), model(replace(batch, image=mean)))


def test_a_tail_encodes_each_view_and_the_embeddings_are_averaged() -> None:
    model = Classifier(model_config(image_tail=IMAGE_TAIL)).eval()
    batch = make_batch(views=2)
    assert model.image_tail is not None
    views = [model.image_tail(batch.image_hidden[:, view], None, False)[0] for view in range(2)]
    frozen = Classifier(model_config()).eval()
    frozen.load_state_dict(model.state_dict(), strict=False)
    mean = (views[0] + views[1]) / 2
    torch.testing.assert_close(model(batch), frozen(replace(batch, image=mean[:, None])))


def test_attention_looks_at_the_first_view_and_at_the_tails_states() -> None:
    model = Classifier(
        model_config(fusion="cross_attn", image_tail=IMAGE_TAIL, text_tail=TEXT_TAIL)
    ).eval()
    batch = make_batch(views=2)
    assert model.image_tail is not None
    assert model.text_tail is not None
    embeddings, tokens = model.image_tail(batch.image_hidden.flatten(0, 1), None, True)
    text, text_tokens = model.text_tail(batch.text_hidden, batch.text_mask, True)
    frozen = Classifier(model_config(fusion="cross_attn")).eval()
    frozen.load_state_dict(model.state_dict(), strict=False)
    same = replace(
        batch,
        image=embeddings.unflatten(0, (3, 2)),
        image_tokens=tokens.unflatten(0, (3, 2))[:, 0],
        text=text,
        text_tokens=text_tokens,
    )
    torch.testing.assert_close(model(batch), frozen(same))


@pytest.mark.parametrize("mode", ["text_only", "image_only"])
def test_attention_needs_both_modalities(mode: str) -> None:
    with pytest.raises(UserError, match=f"^input_mode: '{mode}': .*'multimodal'$"):
        Classifier(model_config(fusion="cross_attn", input_mode=mode))


@pytest.mark.parametrize("missing", ["image_tokens", "text_tokens", "text_mask"])
def test_attention_without_token_states_says_how_to_get_them(missing: str) -> None:
    model = Classifier(model_config(fusion="cross_attn"))
    with pytest.raises(UserError, match=r"^fusion: 'cross_attn' .*backbone\.tokens=true$"):
        model(replace(make_batch(), **{missing: None}))


def test_each_encoder_runs_once_for_all_sets_of_absent_modalities(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Classifier(model_config(image_tail=IMAGE_TAIL, text_tail=TEXT_TAIL)).eval()
    batch = make_batch()
    ran: list[str] = []
    for name in ("image", "text"):
        tail = getattr(model, f"{name}_tail")
        tail.register_forward_hook(lambda *_, name=name: ran.append(name))
    absences = [(), ("image",), ("text",), ("image", "text")]
    found = model.without(batch, absences)
    assert ran == ["image", "text"]
    for logits, absent in zip(found, absences, strict=True):
        torch.testing.assert_close(logits, model(batch, absent))
    ran.clear()
    model.without(batch, [("image",), ("image", "text")])
    assert ran == ["text"]
