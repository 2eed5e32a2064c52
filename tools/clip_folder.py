"""A tiny CLIP model with random weights, in the files that `save_pretrained` writes for a real one."""

import json
from pathlib import Path
from typing import Any

from sentifuse.runtime.files import write_json

# What the byte-level BPE merges; all else is spelled byte by byte.
MERGES = (
    ("t", "h"),
    ("th", "e</w>"),
    ("o", "o"),
    ("g", "oo"),
    ("goo", "d</w>"),
    ("b", "a"),
    ("ba", "d</w>"),
    ("d", "a"),
    ("da", "y</w>"),
)
START, END = "<|startoftext|>", "<|endoftext|>"


def make_clip_folder(folder: Path, seed: int = 0, full_size: bool = False) -> Path:
    """Writes model, tokenizer and preprocessing files to `folder`, and returns it.

    Three layers of width 32 in each tower, embeddings of 16, images of 32 x 32 in patches of 8; or
    with `full_size` those of ViT-B/32, with the same few tokens.
    """
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    start, end = vocabulary[START], vocabulary[END]
    tokens: dict[str, Any] = {"vocab_size": len(vocabulary), "max_position_embeddings": 77}
    tokens |= {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    layers: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3}
    layers |= {"num_attention_heads": 2, "projection_dim": 16}
    side = 224 if full_size else 32
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if full_size:
            model = CLIPModel(CLIPConfig(text_config=tokens))
        else:
            model = CLIPModel(
                CLIPConfig(
                    text_config={**layers, **tokens},
                    vision_config={**layers, "image_size": side, "patch_size": 8},
                    projection_dim=16,
                )
            )
            # The init is so small that attention is next to uniform and biases are zero.
            for name, parameter in model.named_parameters():
                if name != "logit_scale":
                    parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    merges: Any = list(MERGES)  # pairs, which its annotation does not know
    CLIPTokenizer(vocabulary, merges, model_max_length=77).save_pretrained(folder)
    write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": side},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": side, "width": side},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
            "do_convert_rgb": True,
        },
    )
    return folder


def edit_config(folder: Path, section: str, key: str, value: object) -> None:
    """Sets `key` of `section` in the model's `config.json`."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config[section][key] = value
    write_json(path, config)


def _vocabulary() -> dict[str, int]:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [first + second for first, second in MERGES]
    return {token: index for index, token in enumerate([*tokens, START, END])}
