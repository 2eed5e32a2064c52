"""The files of a CLIP model: which ones there must be, and which values their keys may have.

Other versions of transformers, and other programs, wrote them. Where a file asks for something
that this project does in another way, it is refused: nobody would notice slightly different embeddings.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import loading
from sentifuse.encoders.foreign import Keys, check_fetched, read_keys
from sentifuse.errors import UserError

PROCESSOR, PREPROCESSOR = "processor_config.json", "preprocessor_config.json"
# In the order in which transformers looks for them.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What the encoders are made of. The temperature of CLIP's own loss is in no embedding.
_PARTS = ("text_model.", "text_projection.", "vision_model.", "visual_projection.")
# Older files hold the numbers 0, 1, 2, ... as if they were weights.
_NO_WEIGHTS = "position_ids"
_BICUBIC = 3


def check_files(folder: Path, model: str) -> None:
    """Checks that a folder has the files of a CLIP model, fetched in whole.

    Raises:
        UserError: a file is missing, empty, not JSON, or a pointer of git-lfs; it starts with `model`.
    """
    config = read_keys(folder / "config.json", model)
    explicit = config.get("transformers_weights")
    if explicit is not None and not isinstance(explicit, str):
        config.refuse("transformers_weights", "the name of a file")
    names = _first(folder, model, [(name,) for name in ([explicit] if explicit else _WEIGHTS)])
    if names[0].endswith(".index.json"):
        index = read_keys(folder / names[0], model)
        shards = index.get("weight_map")
        if not isinstance(shards, dict) or not shards:
            index.refuse("weight_map", "the file of each weight")
        for shard in sorted(set(map(str, shards.values()))):
            check_fetched(folder / shard, f"{model}: {names[0]}")
    _first(folder, model, [("tokenizer.json",), ("vocab.json", "merges.txt")])
    _first(folder, model, [(PREPROCESSOR,), (PROCESSOR,)])


def _first(folder: Path, model: str, choices: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the first of `choices` whose files are all there, and checks them."""
    for names in choices:
        if all((folder / name).exists() for name in names):
            for name in names:
                check_fetched(folder / name, model)
            return names
    told = ", or ".join(" with ".join(names) for names in choices)
    raise UserError(f"{model}: no {told} in this folder: fetch it from where the folder came from")


def image_spec(model: str, files: Mapping[str, Path | None], vision: Any) -> ImageSpec:
    """Reads how images are prepared.

    Args:
        model: stands in front of the messages.
        files: where `PROCESSOR` and `PREPROCESSOR` are; None for one that is not there.
        vision: transformers' `vision_config`, which says what images the weights take.

    Raises:
        UserError: a key is missing, or asks for what is not done here.
    """
    if vision.num_channels != 3:
        raise UserError(
            f"{model}: config.json: vision_config.num_channels: {vision.num_channels}: expected 3: images "
            "are read as RGB"
        )
    keys = _preprocessing(model, files)
    for name in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
        if keys.get(name, True) is not True:
            keys.refuse(name, "true: images of CLIP are resized, cropped, scaled and normalised")
    if keys.get("resample", _BICUBIC) != _BICUBIC:
        keys.refuse("resample", f"{_BICUBIC} (bicubic), the only way in which images are resized")
    factor = keys.get("rescale_factor", 1 / 255)
    if not _is_number(factor) or not math.isclose(factor, 1 / 255, rel_tol=1e-3):
        keys.refuse("rescale_factor", "1/255")
    resize, crop = _sides(keys)
    if crop != vision.image_size:
        keys.refuse(
            "crop_size",
            f"{vision.image_size}, the side of the images that the weights take (vision_config.image_size "
            "in config.json)",
        )
    return ImageSpec(resize, crop, _channels(keys, "image_mean"), _channels(keys, "image_std", 0.0))


def _preprocessing(model: str, files: Mapping[str, Path | None]) -> Keys:
    """The keys that say how images are prepared, where transformers would read them."""
    processor, preprocessor = files.get(PROCESSOR), files.get(PREPROCESSOR)
    if processor is not None:
        whole = read_keys(processor, model)
        nested = whole.get("image_processor")
        if isinstance(nested, dict):
            return Keys(f"{whole.source}: image_processor", nested)
        if nested is not None or preprocessor is None:
            whole.refuse("image_processor", "how images are prepared: a JSON object")
    if preprocessor is None:
        raise UserError(f"{model}: no {PREPROCESSOR}, or {PROCESSOR}: fetch it")
    return read_keys(preprocessor, model)


def _sides(keys: Keys) -> tuple[int, int]:
    """The shortest edge after resizing, and the side of the square that is cut out of it, in pixels."""
    # Old files give a number where newer ones give an object.
    size, crop = keys.get("size"), keys.get("crop_size")
    shortest = size.get("shortest_edge") if isinstance(size, dict) else size
    height, width = (
        (crop.get("height"), crop.get("width")) if isinstance(crop, dict) else (crop, crop)
    )
    if not _is_side(shortest):
        keys.refuse(
            "size",
            "{'shortest_edge': n}: an image keeps its proportions here (set it if the model was trained so)",
        )
    if not _is_side(height) or height != width:
        keys.refuse("crop_size", "{'height': n, 'width': n}, a square")
    if shortest < height:
        keys.refuse("size", f"{height} (crop_size) or more for the shortest edge")
    return shortest, height


def _channels(keys: Keys, key: str, above: float = -math.inf) -> tuple[float, float, float]:
    values = keys.get(key)
    whole = isinstance(values, list) and len(values) == 3 and all(map(_is_number, values))
    if not whole or min(values) <= above:
        keys.refuse(key, "a number for each of red, green and blue" + (", above 0" * (above == 0)))
    red, green, blue = values
    return red, green, blue


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_side(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_loaded(model: str, report: Mapping[str, Any]) -> None:
    """Checks that the encoders have all their weights from the file, and that it has no others for them.

    Raises:
        UserError: transformers' `loading_info` has a weight of an encoder that is missing, unexpected or of
            another shape.
    """
    missing, unexpected = _of_encoders(report["missing_keys"]), report["unexpected_keys"]
    mismatched = [each for each in report["mismatched_keys"] if each[0].startswith(_PARTS)]
    told = loading.difference(missing, _of_encoders(unexpected), mismatched)
    if not told:
        return
    prefix = loading.prefix(missing, unexpected)
    if prefix:
        remedy = f"all of them have the prefix {prefix!r} in the file: save them without it"
    elif mismatched:
        remedy = "config.json is that of another model: fetch both files from one place"
    else:
        remedy = "fetch the folder again, or save the whole model with CLIPModel.save_pretrained"
    raise UserError(f"{model}: {told}: {remedy}")


def _of_encoders(names: Collection[str]) -> list[str]:
    return [name for name in names if name.startswith(_PARTS) and not name.endswith(_NO_WEIGHTS)]


def check_tokenizer(model: str, tokenizer: Any, vocabulary: int) -> None:
    """Checks that a tokenizer ends its texts, and has no tokens beyond the weights' `vocabulary`.

    Raises:
        UserError: it is not one for CLIP, or for other weights.
    """
    # Without its files transformers makes an empty tokenizer; a CLIP vocabulary starts with the 256
    # bytes, alone and as ends of words.
    if len(tokenizer) < 512:
        raise UserError(
            f"{model}: tokenizer.json: {len(tokenizer)} tokens: expected the vocabulary of CLIP, which "
            "starts with 512: fetch it again"
        )
    ids = tokenizer("a")["input_ids"]
    end = tokenizer.eos_token_id
    if end is None or end not in ids:
        raise UserError(
            f"{model}: tokenizer.json: a text does not end with the token eos_token "
            f"({tokenizer.eos_token!r}), where CLIP takes its embedding from: fetch the tokenizer again"
        )
    highest = max(tokenizer.vocab_size - 1, *ids)
    if highest >= vocabulary:
        raise UserError(
            f"{model}: tokenizer.json: a token has the number {highest}, but the weights know "
            f"{vocabulary} (text_config.vocab_size in config.json): fetch both from one place"
        )
