"""Every family is exact: embeddings, tokens, logits and gradients are those of the whole model.

Each reference is written out in plain `transformers` and torch: the whole model runs on padded raw inputs,
the loss goes backward through everything. All is compared in float64: in float32 a gradient's error is as
large as the terms that cancel in it are larger than itself, and no one tolerance holds for all processors.
Which parameter of a tail is which one of the whole model is found by their values, all of which differ.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional as F

from sentifuse.config.backbone import Modality
from sentifuse.encoders import registry
from sentifuse.encoders.families import FAMILIES
from sentifuse.encoders.interface import AnyEncoder, TailSpec
from sentifuse.features.batches import Batch, States
from sentifuse.features.schema import EncoderMeta
from sentifuse.models.classifier import Classifier, ModelConfig
from tests.places import ROOT
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

TEXTS = ["the good day", "", "bad", "so bad, the day was as bad as the food", "good!"]
TARGETS = torch.tensor([2, 1, 0, 0, 2])

# A model, and ids and mask (B, T) or pixels -> the embedding (B, D) and the tokens (B, T or P, H).
Reference = Callable[..., tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Case:
    """A family, as its users would apply the whole model.

    Attributes:
        make: of `tools.encoder_folders`, or `clip`.
        model: the class of transformers.
        layers: where its layers are; the states that leave each of them may be detached.
        reference: applies it.
    """

    make: str
    model: str
    layers: str
    reference: Reference


def mean_text(model: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1), states


def clip_text(model: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    out = model.get_text_features(input_ids=ids, attention_mask=mask)
    return out.pooler_output, out.last_hidden_state


def siglip_text(model: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    out = model.get_text_features(input_ids=ids)  # padding is seen as text is
    return out.pooler_output, out.last_hidden_state


def clip_image(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    out = model.get_image_features(pixel_values=pixels)
    return out.pooler_output, model.vision_model.post_layernorm(out.last_hidden_state)


def siglip_image(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    out = model.get_image_features(pixel_values=pixels)
    return out.pooler_output, out.last_hidden_state


def siglip2_image(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    patches = [torch.from_numpy(convert_image_to_patches(each.numpy(), 8)) for each in pixels]
    out = model.get_image_features(
        pixel_values=torch.stack(patches),
        pixel_attention_mask=torch.ones(len(pixels), 16, dtype=torch.int64),
        spatial_shapes=torch.tensor([[4, 4]] * len(pixels)),
    )
    return out.pooler_output, out.last_hidden_state


def class_token(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    states = model(pixel_values=pixels).last_hidden_state
    return states[:, 0], states


def convnext(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    out = model(pixel_values=pixels)
    return out.pooler_output, out.last_hidden_state.flatten(2).transpose(1, 2)


TEXT = {
    "clip": Case("clip", "CLIPModel", "text_model.encoder.layers", clip_text),
    "siglip": Case("siglip", "SiglipModel", "text_model.encoder.layers", siglip_text),
    "siglip2": Case("siglip2", "Siglip2Model", "text_model.encoder.layers", siglip_text),
    "bert": Case("bert", "BertModel", "encoder.layer", mean_text),
    "roberta": Case("roberta", "RobertaModel", "encoder.layer", mean_text),
    "xlm-roberta": Case("xlm-roberta", "XLMRobertaModel", "encoder.layer", mean_text),
    "camembert": Case("camembert", "CamembertModel", "encoder.layer", mean_text),
    "mpnet": Case("mpnet", "MPNetModel", "encoder.layer", mean_text),
    "distilbert": Case("distilbert", "DistilBertModel", "transformer.layer", mean_text),
    "electra": Case("electra", "ElectraModel", "encoder.layer", mean_text),
    "deberta-v2": Case("deberta-v2", "DebertaV2Model", "encoder.layer", mean_text),
}
IMAGE = {
    "clip": Case("clip", "CLIPModel", "vision_model.encoder.layers", clip_image),
    "siglip": Case("siglip", "SiglipModel", "vision_model.encoder.layers", siglip_image),
    "siglip2": Case("siglip2", "Siglip2Model", "vision_model.encoder.layers", siglip2_image),
    "vit": Case("vit", "ViTModel", "layers", class_token),
    "deit": Case("deit", "DeiTModel", "layers", class_token),
    "dinov2": Case("dinov2", "Dinov2Model", "encoder.layer", class_token),
    "dinov2-giant": Case("dinov2-giant", "Dinov2Model", "encoder.layer", class_token),
    "dinov2-registers": Case(
        "dinov2-registers", "Dinov2WithRegistersModel", "encoder.layer", class_token
    ),
    "convnext": Case("convnext", "ConvNextModel", "encoder.stages", convnext),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Path]:
    """Gives the folder of a family, made once."""
    made: dict[str, Path] = {}

    def of(case: Case) -> Path:
        if case.make not in made:
            own = tmp_path_factory.mktemp(case.make)
            if case.make == "clip":
                made[case.make] = make_clip_folder(own)
            else:
                made[case.make] = make_encoder_folder(case.make, own)
        return made[case.make]

    return of


def in_float64(encoder: AnyEncoder) -> AnyEncoder:
    for held in vars(encoder).values():
        if isinstance(held, nn.Module):
            held.double()
    return encoder


def whole_model(case: Case, folder: Path) -> Any:
    return getattr(transformers, case.model).from_pretrained(folder).eval().double()


def detached_below(model: Any, case: Case, split: int) -> None:
    """Lets no gradient pass below the last `split` layers: what they share with others gets theirs only."""
    blocks = [
        model.get_submodule(case.layers)[i] for i in range(len(model.get_submodule(case.layers)))
    ]
    if case.model == "ConvNextModel":
        blocks = [block for stage in blocks for block in stage.layers]
        if split < len(blocks) and split in _FIRST_OF_A_STAGE:
            # What halves the map stands before the split point.
            stage = model.get_submodule(case.layers)[_FIRST_OF_A_STAGE[split]]
            stage.downsampling_layer[-1].register_forward_hook(lambda *args: args[2].detach())
            return
    if split < len(blocks):
        blocks[len(blocks) - split - 1].register_forward_hook(_detach)


# Of the tiny ConvNeXt: the number of last blocks -> the stage that begins with the first of them.
_FIRST_OF_A_STAGE = {2: 1}


def _detach(module: nn.Module, inputs: Any, out: Any) -> Any:
    return (out[0].detach(), *out[1:]) if isinstance(out, tuple) else out.detach()


def classifier(encoder: AnyEncoder, modality: Modality, spec: TailSpec) -> Classifier:
    """In training mode, without dropout, with the pre-trained tail of one modality."""
    torch.manual_seed(0)
    width, token_width = encoder.embedding_dim, encoder.token_dim
    other: Modality = "text" if modality == "image" else "image"
    own = EncoderMeta(f"{modality}_a", modality, width, token_width, dict(spec.config), "")
    metas = [own, EncoderMeta(f"{other}_b", other, 8, 8, None, "")]
    in_order = sorted(metas, key=lambda each: each.modality)
    config = ModelConfig(["a", "b", "c"], "concat", "multimodal", [12], 0.0, in_order)
    model = Classifier(config)
    model.tails[own.key].load_state_dict(spec.weights)
    return model.train().double()


def plain_logits(model: Classifier, embedding: Tensor, other: Tensor) -> Tensor:
    """Norms, concatenation and head in plain torch, on copies of their weights."""
    copies = {name: value.detach().clone() for name, value in model.named_parameters()}

    def norm(x: Tensor, key: str) -> Tensor:
        weight, bias = copies[f"norms.{key}.weight"], copies[f"norms.{key}.bias"]
        return F.layer_norm(x, x.shape[1:], weight, bias)

    found = {key: embedding if key.endswith("_a") else other for key in model.norms}
    x = torch.cat([norm(value, key) for key, value in found.items()], dim=1)
    x = F.relu(F.linear(x, copies["head.0.weight"], copies["head.0.bias"]))
    return F.linear(x, copies["head.3.weight"], copies["head.3.bias"])


def assert_same_gradients(tail: nn.Module, whole: nn.Module) -> None:
    """Compares every parameter's gradient, relative to the tensor's largest one."""
    theirs = [(name, value) for name, value in whole.named_parameters()]
    for name, parameter in tail.named_parameters():
        [(_, twin)] = [
            each
            for each in theirs
            if each[1].shape == parameter.shape and torch.equal(each[1], parameter)
        ]
        assert parameter.grad is not None, name
        assert twin.grad is not None, name
        # The true gradient of a key's bias is zero: it adds the same to all scores of a query.
        scale = max(twin.grad.abs().max().item(), 1e-6)
        assert (parameter.grad - twin.grad).abs().max().item() <= 1e-10 * scale, name


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def pad(states: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (1, T, H) of any T -> (B, T, H) and the mask (B, T)."""
    lengths = torch.tensor([state.shape[1] for state in states])
    padded = nn.utils.rnn.pad_sequence([state[0].clone() for state in states], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


@pytest.mark.parametrize("split", [0, 1, 2, 3])
@pytest.mark.parametrize("family", TEXT)
def test_a_text_family(family: str, split: int, folder_of: Callable[[Case], Path]) -> None:
    case = TEXT[family]
    encoder: Any = in_float64(registry.load(str(folder_of(case)), "text"))
    whole = whole_model(case, folder_of(case))
    rows = [torch.tensor([ids]) for ids in encoder.tokenize(TEXTS)]
    ids = nn.utils.rnn.pad_sequence([row[0] for row in rows], batch_first=True, padding_value=1)
    mask = torch.arange(ids.shape[1]) < torch.tensor([row.shape[1] for row in rows])[:, None]
    if split:
        detached_below(whole, case, split)
    text, states = case.reference(whole, ids, mask.long())

    alone = [encoder.encode(row, split, tokens=True) for row in rows]
    torch.testing.assert_close(
        torch.cat([each.embedding for each in alone]), text, rtol=1e-11, atol=1e-12
    )
    for each, expected, real in zip(alone, states, mask, strict=True):
        torch.testing.assert_close(each.tokens[0], expected[real], rtol=1e-11, atol=1e-12)
    if not split:
        assert alone[0].hidden is None
        return

    model = classifier(encoder, "text", encoder.tail(split))
    images = normal(5, 8)
    expected = plain_logits(model, text, images)
    F.cross_entropy(expected, TARGETS).backward()
    hidden, real = pad([each.hidden for each in alone])
    assert torch.equal(real, mask)
    batch: Batch = {
        "image_b": States(images[:, None]),
        "text_a": States(text[:, None].detach(), None, hidden, mask),
    }
    logits = model(batch)
    F.cross_entropy(logits, TARGETS).backward()
    torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-12)
    assert_same_gradients(model.tails["text_a"], whole)


@pytest.mark.parametrize("split", [0, 1, 2, 3])
@pytest.mark.parametrize("family", IMAGE)
def test_an_image_family(family: str, split: int, folder_of: Callable[[Case], Path]) -> None:
    case, views = IMAGE[family], 2
    encoder: Any = in_float64(registry.load(str(folder_of(case)), "image"))
    whole = whole_model(case, folder_of(case))
    pixels = normal(5 * views, 3, encoder.spec.crop, encoder.spec.crop)
    if split:
        detached_below(whole, case, split)
    image, states = case.reference(whole, pixels)

    found = encoder.encode(pixels, split, tokens=True)
    single = encoder.encode(pixels[:1], split, tokens=False)
    torch.testing.assert_close(found.embedding, image, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(found.tokens, states, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(single.embedding, image[:1], rtol=1e-11, atol=1e-12)
    if not split:
        assert found.hidden is None
        return

    model = classifier(encoder, "image", encoder.tail(split))
    texts = normal(5, 8)
    expected = plain_logits(model, image.unflatten(0, (5, views)).mean(dim=1), texts)
    F.cross_entropy(expected, TARGETS).backward()
    hidden = found.hidden.clone().unflatten(0, (5, views))
    batch: Batch = {
        "image_a": States(image.unflatten(0, (5, views)).detach(), None, hidden),
        "text_b": States(texts[:, None]),
    }
    logits = model(batch)
    F.cross_entropy(logits, TARGETS).backward()
    torch.testing.assert_close(logits, expected, rtol=1e-11, atol=1e-12)
    assert_same_gradients(model.tails["image_a"], whole)


def test_every_family_is_in_the_tables_above_and_in_the_docs() -> None:
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    # `model_type` of a half that was saved alone, or as the config of a tiny model says it.
    halves: tuple[str, ...] = (
        "clip_text_model",
        "clip_vision_model",
        "siglip_text_model",
        "siglip_vision_model",
    )
    halves += ("siglip2_text_model", "siglip2_vision_model")
    for kinds, cases in ((FAMILIES["image"], IMAGE), (FAMILIES["text"], TEXT)):
        for kind in kinds:
            assert f"`{kind}`" in text
            assert kind in halves or kind.replace("_with_", "-") in cases, kind


@pytest.mark.parametrize(
    ("family", "half", "modality"),
    [
        ("clip", "CLIPTextModelWithProjection", "text"),
        ("clip", "CLIPVisionModelWithProjection", "image"),
        ("siglip", "SiglipTextModel", "text"),
        ("siglip", "SiglipVisionModel", "image"),
        ("siglip2", "Siglip2TextModel", "text"),
        ("siglip2", "Siglip2VisionModel", "image"),
    ],
)
def test_half_of_a_model_that_was_saved_alone_is_the_same_encoder(
    family: str, half: str, modality: Modality, folder_of: Callable[[Case], Path], tmp_path: Path
) -> None:
    whole = folder_of((TEXT if modality == "text" else IMAGE)[family])
    folder = shutil.copytree(whole, tmp_path / "half")
    for file in ("model.safetensors", "config.json"):
        (folder / file).unlink()
    getattr(transformers, half).from_pretrained(whole).save_pretrained(folder)
    given: Any = torch.tensor([[0, 5, 6, 2] + [1] * 8]) if modality == "text" else None
    both: list[Any] = [registry.load(str(each), modality) for each in (whole, folder)]
    if given is None:
        side = both[0].spec.crop
        given = torch.linspace(-1, 1, 3 * side * side).reshape(1, 3, side, side)
    found, expected = (each.encode(given, 1, tokens=False).embedding for each in both)
    # Not to the bit: where its weights happen to lie in memory decides on a product's last digits in MKL.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
