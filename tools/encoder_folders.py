"""Tiny models with random weights, in the files that `save_pretrained` writes for real ones.

    python -m tools.encoder_folders FAMILY FOLDER

One entry of `MODELS` is a family of `transformers`; `tools/clip_folder.py` has CLIP itself.
"""

import sys
from pathlib import Path
from typing import Any

from sentifuse.runtime.files import write_json

_PAD = 1  # RoBERTa counts positions from behind this number
_WORDS = [
    "<s>",
    "<pad>",
    "</s>",
    "[UNK]",
    "[MASK]",
    "the",
    "good",
    "bad",
    "day",
    "food",
    "so",
    "was",
    "as",
]
# Letters and signs, alone and within words: every ASCII text has tokens.
_LETTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
VOCABULARY = [*_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]

_TEXT: dict[str, Any] = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
    "pad_token_id": _PAD,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_IMAGE: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 40,
    "image_size": 32,
    "patch_size": 8,
}
_DINO = {key: value for key, value in _IMAGE.items() if key != "intermediate_size"} | {
    "mlp_ratio": 2
}
_SIGLIP_TEXT = {**_TEXT, "max_position_embeddings": 12, "projection_size": 24}
_CONVNEXT: dict[str, Any] = {
    "depths": [1, 2],
    "hidden_sizes": [8, 12],
    "num_stages": 2,
    "image_size": 32,
}
_DEBERTA: dict[str, Any] = {
    "relative_attention": True,
    "position_buckets": 8,
    "max_relative_positions": 40,
}
_DEBERTA |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"]}
_DEBERTA |= {"position_biased_input": False, "type_vocab_size": 0}

# Family -> the class of its config, what the config says, and the class of the model.
MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "albert": ("AlbertConfig", {**_TEXT, "embedding_size": 16}, "AlbertModel"),
    "bert": ("BertConfig", _TEXT, "BertModel"),
    "roberta": ("RobertaConfig", _TEXT, "RobertaModel"),
    "xlm-roberta": ("XLMRobertaConfig", _TEXT, "XLMRobertaModel"),
    "camembert": ("CamembertConfig", _TEXT, "CamembertModel"),
    "mpnet": ("MPNetConfig", {**_TEXT, "relative_attention_num_buckets": 32}, "MPNetModel"),
    "distilbert": (
        "DistilBertConfig",
        {**_TEXT, "hidden_dim": 40, "dim": 24, "n_layers": 3, "n_heads": 2},
        "DistilBertModel",
    ),
    "electra": ("ElectraConfig", {**_TEXT, "embedding_size": 16}, "ElectraModel"),
    "deberta-v2": ("DebertaV2Config", {**_TEXT, **_DEBERTA}, "DebertaV2Model"),
    "siglip": (
        "SiglipConfig",
        {"text_config": _SIGLIP_TEXT, "vision_config": _IMAGE},
        "SiglipModel",
    ),
    "siglip2": (
        "Siglip2Config",
        {"text_config": _SIGLIP_TEXT, "vision_config": {**_IMAGE, "num_patches": 16}},
        "Siglip2Model",
    ),
    "vit": ("ViTConfig", _IMAGE, "ViTModel"),
    "deit": ("DeiTConfig", _IMAGE, "DeiTModel"),
    "dinov2": ("Dinov2Config", _DINO, "Dinov2Model"),
    "dinov2-giant": ("Dinov2Config", {**_DINO, "use_swiglu_ffn": True}, "Dinov2Model"),
    "dinov2-registers": ("Dinov2WithRegistersConfig", _DINO, "Dinov2WithRegistersModel"),
    "convnext": ("ConvNextConfig", _CONVNEXT, "ConvNextModel"),
    "resnet": (
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"},
        "ResNetModel",
    ),
}
READS_IMAGES: tuple[str, ...] = (
    "siglip", "siglip2", "vit", "deit", "dinov2", "dinov2-giant", "dinov2-registers", "convnext", "resnet"
)  # fmt: skip
READS_TEXTS: tuple[str, ...] = (
    "albert", "bert", "roberta", "xlm-roberta", "camembert", "mpnet", "distilbert", "electra", "deberta-v2",
    "siglip", "siglip2",
)  # fmt: skip


def make_encoder_folder(family: str, folder: Path, seed: int = 0, **changes: Any) -> Path:
    """Writes the model of a family, its tokenizer and its preprocessing file to `folder`, and returns it.

    `changes` are further keys of the config.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    config_class, values, model_class = MODELS[family]
    config = getattr(transformers, config_class)(**{**values, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, model_class)(config)
        # The init is so small that attention is next to uniform, and sets many weights to 0 or 1.
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    if family in READS_TEXTS:
        _tokenizer(12 if family.startswith("siglip") else 38).save_pretrained(folder)
    if family in READS_IMAGES:
        write_json(folder / "preprocessor_config.json", _PROCESSOR)
    return folder


def _tokenizer(length: int) -> Any:
    """A WordPiece tokenizer of `VOCABULARY`, uncased."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {token: number for number, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length, mask_token="[MASK]", **special
    )


_PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


if __name__ == "__main__":
    print(make_encoder_folder(sys.argv[1], Path(sys.argv[2])))
