"""Any CLIP model of the hub or a local folder (Radford et al. 2021, arXiv:2103.00020)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import clip_folder, fast_clip, foreign
from sentifuse.encoders.interface import Backbone, Encoded, TailSpec, fingerprint
from sentifuse.errors import UserError


class ClipText:
    """CLIP's text tower; its embedding is the projected state at end-of-text."""

    def __init__(
        self, model: Any, tokenizer: Any, precision: str = "fp32", device: str = "cpu"
    ) -> None:
        config = model.config.text_config
        self._fast = None if precision == "fp32" else fast_clip.Text(model, precision, device)
        self._tower, self._projection = model.text_model, model.text_projection
        self._tokenizer, self._config, self.device = tokenizer, config, device
        self.embedding_dim = model.config.projection_dim
        self.token_dim = config.hidden_size
        self.layers = config.num_hidden_layers
        self.max_tokens = config.max_position_embeddings

    @cached_property
    def fingerprint(self) -> str:
        weights = {**self._tower.state_dict(), "projection": self._projection.weight}
        vocabulary = self._tokenizer.backend_tokenizer.to_str()
        return fingerprint(f"CLIP text {self._config.to_json_string()} {vocabulary}", weights)

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer(texts, truncation=True, max_length=self.max_tokens)
        # A text may spell out the end-of-text token; CLIP pools the first one.
        end = self._tokenizer.eos_token_id
        return [list(ids[: ids.index(end) + 1]) for ids in encoded["input_ids"]]

    @torch.inference_mode()
    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        if self._fast is not None:
            encoded: Encoded = self._fast(ids, split, tokens)
            return encoded
        # Rows end with end-of-text and have no padding: causal attention makes whatever would
        # follow irrelevant, so the last state is the one that CLIP pools.
        out = self._tower(input_ids=ids, output_hidden_states=True)
        states = out.last_hidden_state  # (B, T, H), after the final norm
        hidden = out.hidden_states[self.layers - split] if split else None
        return Encoded(self._projection(states[:, -1]), states if tokens else None, hidden)

    def tail(self, split: int) -> TailSpec:
        norm = self._tower.final_layer_norm
        return _tail(self, self._tower, norm, self._projection, split, causal=True, pool="last")


class ClipVision:
    """CLIP's vision transformer; its embedding is the projected state of the class token."""

    def __init__(
        self, model: Any, spec: ImageSpec, precision: str = "fp32", device: str = "cpu"
    ) -> None:
        config = model.config.vision_config
        self._fast = None if precision == "fp32" else fast_clip.Vision(model, precision, device)
        self._tower, self._projection = model.vision_model, model.visual_projection
        self._config, self.spec, self.device = config, spec, device
        self.embedding_dim = model.config.projection_dim
        self.token_dim = config.hidden_size
        self.layers = config.num_hidden_layers

    @cached_property
    def fingerprint(self) -> str:
        weights = {**self._tower.state_dict(), "projection": self._projection.weight}
        return fingerprint(f"CLIP vision {self._config.to_json_string()} {self.spec}", weights)

    @torch.inference_mode()
    def encode(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        if self._fast is not None:
            encoded: Encoded = self._fast(pixels, split, tokens)
            return encoded
        out = self._tower(pixel_values=pixels, output_hidden_states=True)
        # transformers norms the class token only; normed tokens are what the projection expects.
        states = self._tower.post_layernorm(out.last_hidden_state)  # (B, P, H)
        hidden = out.hidden_states[self.layers - split] if split else None
        return Encoded(self._projection(states[:, 0]), states if tokens else None, hidden)

    def tail(self, split: int) -> TailSpec:
        norm = self._tower.post_layernorm
        return _tail(self, self._tower, norm, self._projection, split, causal=False, pool="first")


def _tail(
    encoder: ClipText | ClipVision,
    tower: Any,
    norm: nn.LayerNorm,
    projection: nn.Linear,
    split: int,
    causal: bool,
    pool: str,
) -> TailSpec:
    config = encoder._config
    names = {
        "self_attn.q_proj": "q_proj",
        "self_attn.k_proj": "k_proj",
        "self_attn.v_proj": "v_proj",
        "self_attn.out_proj": "out_proj",
        "layer_norm1": "norm1",
        "mlp.fc1": "fc1",
        "mlp.fc2": "fc2",
        "layer_norm2": "norm2",
    }
    weights = {}
    for index, layer in enumerate(tower.encoder.layers[encoder.layers - split :]):
        for key, value in layer.state_dict().items():
            module, _, kind = key.rpartition(".")
            weights[f"layers.{index}.{names[module]}.{kind}"] = value
    weights |= {f"norm.{key}": value for key, value in norm.state_dict().items()}
    weights["projection.weight"] = projection.weight.detach()
    return TailSpec(
        {
            "kind": "transformer",
            "layers": split,
            "dim": config.hidden_size,
            "heads": config.num_attention_heads,
            "mlp_dim": config.intermediate_size,
            "activation": config.hidden_act,
            "eps": config.layer_norm_eps,
            "pre_norm": True,
            "causal": causal,
            "pool": pool,
            "projection_dim": encoder.embedding_dim,
        },
        weights,
    )


def load(name: str, revision: str | None, precision: str, device: str) -> Backbone:
    """Loads a CLIP model.

    Args:
        name: a hub id such as `openai/clip-vit-base-patch32`, or a folder that `save_pretrained`
            wrote, with the files of the tokenizer and the image processor.
        revision: commit, tag or branch of the hub repository; None for its default.
        precision: `fp32`, which goes through `transformers` and is the reference, `bf16` or `fp16`.
        device: where it encodes.

    Raises:
        UserError: no such files here and no network, a model that is not CLIP, or files that lack
            something, do not belong together, or ask for what is not done here.
    """
    from transformers import AutoConfig, AutoTokenizer, CLIPModel

    source = f"backbone.name: {name!r}"
    here = Path(name).is_dir()
    if here:
        foreign.read_keys(Path(name) / "config.json", source)
    with _fetching(name, revision, "config.json"):
        config = AutoConfig.from_pretrained(name, revision=revision)
    if config.model_type != "clip":
        raise UserError(
            f"{source}: a model of type {config.model_type!r}; expected a CLIP model "
            "(model_type 'clip') or 'bundled'"
        )
    if here:
        clip_folder.check_files(Path(name), source)
    spec = clip_folder.image_spec(source, _processor_files(name, revision), config.vision_config)
    with _fetching(name, revision, "config.json and the weights"):
        # A `.bin` file, all that some repositories have, is read with `weights_only`: no code in it runs.
        model, report = foreign.load_reporting(
            CLIPModel, name, revision=revision or "main", dtype=torch.float32
        )
    clip_folder.check_loaded(source, report)
    with _fetching(name, revision, "the tokenizer's files"):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        clip_folder.check_tokenizer(source, tokenizer, config.text_config.vocab_size)
    if precision == "fp32":
        model.to(device)
    return Backbone(
        image=ClipVision(model, spec, precision, device),
        text=ClipText(model, tokenizer, precision, device),
        name=name,
    )


def _processor_files(name: str, revision: str | None) -> dict[str, Path | None]:
    """Where the files are that say how images are prepared; None for one that a model does not have."""
    from transformers.utils.hub import cached_file

    found: dict[str, Path | None] = {}
    for file in (clip_folder.PROCESSOR, clip_folder.PREPROCESSOR):
        try:
            found[file] = Path(str(cached_file(name, file, revision=revision)))
        except OSError:
            found[file] = None
    return found


@contextmanager
def _fetching(name: str, revision: str | None, file: str) -> Iterator[None]:
    """Says in one line what is wrong with a file, or how to get a model that is not here."""
    source = f"backbone.name: {name!r}"
    try:
        with foreign.reading(f"{source}: {file}", "fetch the files again"):
            yield
    except UserError as error:
        # Of a model that is not a folder here, transformers says so when files are not to be had.
        cause = error.__cause__
        if isinstance(cause, OSError | ValueError) and not Path(name).is_dir():
            raise UserError(_how_to_get(name, revision, file, foreign.reason(cause))) from error
        raise


def _how_to_get(name: str, revision: str | None, file: str, reason: str) -> str:
    at = f" --revision {revision}" if revision else ""
    return (
        f"backbone.name: {name!r}: no such folder, and the hub and its cache did not give {file} "
        f"({reason}); on a machine with a network run `hf download {name}{at} --local-dir FOLDER`, copy "
        "FOLDER here and set backbone.name=FOLDER, or set backbone.name=bundled"
    )
