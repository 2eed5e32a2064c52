"""Any CLIP model of the hub or a local folder (Radford et al. 2021, arXiv:2103.00020)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import clip_folder, foreign, low_precision
from sentifuse.encoders.interface import (
    Backbone,
    Encoded,
    TailSpec,
    TransformerConfig,
    fingerprint,
    transformer_tail,
)
from sentifuse.errors import UserError

# A module of a tail's layer -> the same one in a `CLIPEncoderLayer`.
_CLIP_NAMES = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "out_proj": "self_attn.out_proj",
    "norm1": "layer_norm1",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
    "norm2": "layer_norm2",
}


class _Tower:
    """What both encoders are made of.

    Attributes:
        config: transformers' config of this tower.
        exact: the tower in float32, which fingerprint and tail are taken from.
        tower: the one that encodes, in whatever precision.
        projection: of the pooled state.
    """

    def __init__(self, exact: Any, tower: Any, projection: nn.Linear, device: str) -> None:
        self.config, self.exact, self.tower = exact.config, exact, tower.to(device)
        self.projection, self.device = projection.to(device), device
        self.embedding_dim = projection.out_features
        self.token_dim: int = self.config.hidden_size
        self.layers: int = self.config.num_hidden_layers

    def _fingerprint(self, kind: str, inputs: str) -> str:
        weights = {**self.exact.state_dict(), "projection": self.projection.weight}
        return fingerprint(f"CLIP {kind} {self.config.to_json_string()} {inputs}", weights)

    def _tail(self, split: int, norm: nn.LayerNorm, causal: bool, pool: str) -> TailSpec:
        config = TransformerConfig(
            layers=split,
            dim=self.token_dim,
            heads=self.config.num_attention_heads,
            mlp_dim=self.config.intermediate_size,
            activation=self.config.hidden_act,
            eps=self.config.layer_norm_eps,
            pre_norm=True,
            causal=causal,
            pool=pool,
            projection_dim=self.embedding_dim,
        )
        layers = self.exact.encoder.layers[self.layers - split :]
        behind = {"norm": norm, "projection": self.projection}
        return transformer_tail(config, layers, _CLIP_NAMES, behind)

    def _hidden(self, out: Any, split: int) -> Tensor | None:
        """(B, T or P, H), what enters the last `split` layers."""
        return out.hidden_states[self.layers - split] if split else None


class ClipText(_Tower):
    """CLIP's text tower; its embedding is the projected state at end-of-text."""

    def __init__(self, exact: Any, model: Any, tokenizer: Any, device: str) -> None:
        """Takes the tower of `model`, whose weights in float32 are those of `exact`, to `device`."""
        super().__init__(exact.text_model, model.text_model, model.text_projection, device)
        self._tokenizer = tokenizer
        self.max_tokens: int = self.config.max_position_embeddings

    @cached_property
    def fingerprint(self) -> str:
        return self._fingerprint("text", self._tokenizer.backend_tokenizer.to_str())

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer(texts, truncation=True, max_length=self.max_tokens)
        # A text may spell out the end-of-text token; CLIP pools the first one.
        end = self._tokenizer.eos_token_id
        return [list(ids[: ids.index(end) + 1]) for ids in encoded["input_ids"]]

    @torch.inference_mode()
    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        # Rows end with end-of-text and have no padding: causal attention makes whatever would
        # follow irrelevant, so the last state is the one that CLIP pools.
        out = self.tower(input_ids=ids, output_hidden_states=True)
        states = out.last_hidden_state  # (B, T, H), after the final norm
        embedding = self.projection(states[:, -1])
        return Encoded(embedding, states if tokens else None, self._hidden(out, split))

    def tail(self, split: int) -> TailSpec:
        return self._tail(split, self.exact.final_layer_norm, causal=True, pool="last")


class ClipVision(_Tower):
    """CLIP's vision transformer; its embedding is the projected state of the class token."""

    def __init__(self, exact: Any, model: Any, spec: ImageSpec, device: str) -> None:
        """Takes the tower of `model`, whose weights in float32 are those of `exact`, to `device`."""
        super().__init__(exact.vision_model, model.vision_model, model.visual_projection, device)
        self.spec = spec

    @cached_property
    def fingerprint(self) -> str:
        return self._fingerprint("vision", str(self.spec))

    @torch.inference_mode()
    def encode(self, pixels: Tensor, split: int, tokens: bool) -> Encoded:
        out = self.tower(pixel_values=pixels, output_hidden_states=True)
        # transformers norms the class token only; normed tokens are what the projection expects.
        states = self.tower.post_layernorm(out.last_hidden_state)  # (B, P, H)
        embedding = self.projection(states[:, 0])
        return Encoded(embedding, states if tokens else None, self._hidden(out, split))

    def tail(self, split: int) -> TailSpec:
        return self._tail(split, self.exact.post_layernorm, causal=False, pool="first")


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
    from transformers import AutoTokenizer, CLIPModel

    source = f"backbone.name: {name!r}"
    config = _config(name, revision, source)
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
    computing = model if precision == "fp32" else low_precision.lowered(model, precision)
    return Backbone(
        image=ClipVision(model, computing, spec, device),
        text=ClipText(model, computing, tokenizer, device),
        name=name,
    )


def _config(name: str, revision: str | None, source: str) -> Any:
    """transformers' config of the model, whose type and files are checked."""
    from transformers import AutoConfig

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
    return config


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
        cause = error.__cause__
        # With these transformers says that the hub and its cache do not have the file.
        if not isinstance(cause, OSError | ValueError) or Path(name).is_dir():
            raise
        at = f" --revision {revision}" if revision else ""
        raise UserError(
            f"{source}: no such folder, and the hub and its cache did not give {file} "
            f"({foreign.reason(cause)}); on a machine with a network run `hf download {name}{at} "
            "--local-dir FOLDER`, copy FOLDER here and set backbone.name=FOLDER, or set "
            "backbone.name=bundled"
        ) from error
