"""Training on the cache: stage 2 beside the whole model's step and on one thread, stage 1 beside a
`DataLoader` loop.

CLIP ViT-B/32 in full size with random weights, 32 pairs a step, one text layer finetuned. The whole model
runs both towers on pixels and on token ids padded to 77, with everything below the last text layer frozen,
and trains the same head with the same optimizer.
"""

from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measurement import Measurement, side_by_side, times_as_fast
from sentifuse.config.recipe import Head, ImageViews, Loss, Recipe, Stage1, Stage2, StageRecipe
from sentifuse.encoders import registry
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.features.batches import Dataset, States
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Arrays, EncoderMeta, Features, Meta
from sentifuse.models.classifier import Classifier, ModelConfig
from sentifuse.runtime import precision
from sentifuse.runtime.threads import cores
from sentifuse.training.two_stage import train_stage1, train_stage2
from tools.clip_folder import make_clip_folder

# The keys of both encoders.
IMAGE, TEXT = "image_clip", "text_clip"
LABELS = ["negative", "neutral", "positive"]
BATCH, PADDED = 32, 77
# Tokens of a tweet with its start and end; the demo data's texts and those of MVSA have about as many.
TOKENS = (8, 32)
HEAD = Head(hidden_dims=(256, 64), dropout=0.3)
LOSS = Loss(class_weights="none", label_smoothing=0.0, logit_adjustment=0.0, noise="none")
VIEWS = ImageViews(train="plain", predict="plain")
COMMON: dict[str, Any] = {
    "lr_head": 1e-3,
    "lr_attn": 1e-4,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "schedule": "plateau",
    "warmup": 0.0,
    "early_stop_patience": 0,
}


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Measures both stages."""
    from transformers import CLIPModel

    folder = make_clip_folder(work / "clip", full_size=not short)
    encoder = registry.load(str(folder), "text")
    whole: Any = CLIPModel.from_pretrained(folder)
    rounds = 1 if short else 5
    # What the processor is fast in: bf16 is not timed where it would be emulated.
    here = precision.resolve("auto")
    return [
        *(_stage2(encoder, whole, each, rounds, short) for each in dict.fromkeys(["fp32", here])),
        _threads(encoder, here, rounds, short),
        *_stage1(here, rounds, short),
    ]


def _stage2(
    encoder: AnyEncoder, whole: Any, computes_in: str, rounds: int, short: bool
) -> Measurement:
    steps = {"ours": 2 if short else 40, "whole model": 1 if short else 2}
    our_steps, head = ours(encoder, 1, computes_in, cores(), steps["ours"])
    theirs = whole_model(whole, head, computes_in, steps["whole model"])
    seconds = side_by_side({"ours": our_steps, "whole model": theirs}, rounds=rounds)
    what = f"stage 2, one text layer, {computes_in}"
    return beside_whole_model("training", what, seconds, steps, target=20.0)


def beside_whole_model(
    part: str,
    what: str,
    seconds: Mapping[str, list[float]],
    steps: Mapping[str, int],
    target: float,
) -> Measurement:
    """Steps of `ours` beside those of the `whole model`: `seconds` has the rounds of each."""
    step = {name: [each / steps[name] for each in times] for name, times in seconds.items()}
    return Measurement(
        part=part,
        what=what,
        reference="a step of the whole CLIP",
        ours=1e3 * float(np.median(step["ours"])),
        theirs=1e3 * float(np.median(step["whole model"])),
        unit="ms a step",
        ratio=times_as_fast(step["ours"], step["whole model"]),
        target=target,
    )


def _threads(encoder: AnyEncoder, computes_in: str, rounds: int, short: bool) -> Measurement:
    layers, steps = (1, 2) if short else (3, 40)
    two, _ = ours(encoder, layers, computes_in, 2, steps)
    one, _ = ours(encoder, layers, computes_in, 1, steps)
    seconds = side_by_side({"two": two, "one": one}, rounds=rounds)
    step = {name: [each / steps for each in times] for name, times in seconds.items()}
    return Measurement(
        part="training",
        what=f"stage 2, {layers} text layers, {computes_in}, two threads",
        reference="one thread",
        ours=1e3 * float(np.median(step["two"])),
        theirs=1e3 * float(np.median(step["one"])),
        unit="ms a step",
        ratio=times_as_fast(step["two"], step["one"]),
        target=None,
    )


def ours(
    encoder: AnyEncoder,
    layers: int,
    computes_in: Any,
    threads: int,
    steps: int,
    device: str = "cpu",
) -> tuple[Callable[[], None], Classifier]:
    """Some steps of stage 2 with the last text layers, and a model of its kind without them."""
    tail = encoder.tail(layers)
    parts = make_parts(steps * BATCH, encoder.embedding_dim, encoder.token_dim, dict(tail.config))
    config = _config(encoder.embedding_dim, encoder.token_dim)
    schedule = Stage2(
        **COMMON, epochs=1, batch_size=BATCH, restart_head=True, members=1, lr_clip=1e-4,
        layer_decay=1.0, encoder_dropout=0.0, precision=computes_in, threads=threads,
    )  # fmt: skip
    weights = {TEXT: tail.weights}

    def run() -> None:
        torch.set_num_threads(1)
        how = StageRecipe(LOSS, VIEWS, schedule)
        train_stage2(Classifier(config).to(device), weights, parts, how, seed=0)

    return run, Classifier(config).to(device)


def whole_model(
    clip: Any, head: Classifier, computes_in: str, steps: int, layers: int = 1
) -> Callable[[], None]:
    """Some steps of the whole CLIP, where `head` is, with the last text layers and that head trained."""
    vision, vocabulary = clip.config.vision_config, clip.config.text_config.vocab_size
    generator = torch.Generator().manual_seed(0)
    side = vision.image_size
    device = head.device
    pixels = torch.randn(BATCH, 3, side, side, generator=generator).to(device)
    ids = torch.randint(vocabulary - 1, (BATCH, PADDED), generator=generator)
    # CLIP pools the state at the end-of-text token.
    ids[:, -1] = clip.config.text_config.eos_token_id
    ids = ids.to(device)
    targets = torch.randint(len(LABELS), (BATCH,), generator=generator).to(device)
    clip.requires_grad_(False)
    trained = [
        *clip.text_model.encoder.layers[-layers:],
        clip.text_model.final_layer_norm,
        clip.text_projection,
    ]
    for module in trained:
        module.requires_grad_(True)
    parameters = [p for p in (*clip.parameters(), *head.parameters()) if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)

    def run() -> None:
        torch.set_num_threads(cores())
        clip.train()
        head.train()
        for _ in range(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=computes_in == "bf16"):
                image = clip.get_image_features(pixel_values=pixels).pooler_output
                text = clip.get_text_features(input_ids=ids).pooler_output
                logits = head(_batch(image, text))
            value = nn.functional.cross_entropy(logits.float(), targets)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()

    return run


def _stage1(computes_in: Any, rounds: int, short: bool) -> list[Measurement]:
    samples, epochs, dim = (128 if short else 3200), (1 if short else 5), 512
    parts = make_parts(samples, dim, 1, None)
    schedule = Stage1(**COMMON, precision=computes_in, epochs=epochs, batch_size=64)
    recipe = Recipe("concat", "multimodal", HEAD, LOSS, VIEWS, schedule, stage2=None)

    def ours() -> None:
        torch.set_num_threads(1)
        train_stage1(recipe, parts, seed=0)

    f = parts.train.features
    embeddings = [torch.from_numpy(f.arrays[key].embeddings[:, 0]) for key in (IMAGE, TEXT)]
    rows = TensorDataset(*embeddings, parts.train.targets)

    def loader() -> None:
        torch.set_num_threads(cores())
        model = Classifier(_config(dim, 1)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
        for _ in range(epochs):
            for image, text, targets in DataLoader(rows, batch_size=64, shuffle=True):
                value = nn.functional.cross_entropy(model(_batch(image, text)), targets)
                optimizer.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()

    with redirect_stderr(StringIO()):
        seconds = side_by_side({"ours": ours, "loader": loader}, rounds=rounds)
    epoch = {name: [each / epochs for each in times] for name, times in seconds.items()}
    ours_epoch = float(np.median(epoch["ours"]))
    known = 0.13
    return [
        Measurement(
            part="training",
            what=f"stage 1, {samples:,} samples of 512 + 512",
            reference="DataLoader, AdamW, all threads",
            ours=ours_epoch,
            theirs=float(np.median(epoch["loader"])),
            unit="s an epoch",
            ratio=times_as_fast(epoch["ours"], epoch["loader"]),
            target=None,
        ),
        Measurement(
            part="training",
            what=f"stage 1, {samples:,} samples of 512 + 512",
            reference="the design's figure",
            ours=ours_epoch,
            theirs=known,
            unit="s an epoch",
            ratio=known / ours_epoch,
            target=1.0,
        ),
    ]


def _batch(image: Tensor, text: Tensor) -> dict[str, States]:
    """Embeddings (B, D) of both encoders as a batch."""
    return {IMAGE: States(image[:, None].float()), TEXT: States(text[:, None].float())}


def _encoders(dim: int, width: int, tail: dict[str, Any] | None) -> tuple[EncoderMeta, EncoderMeta]:
    image = EncoderMeta(IMAGE, "image", dim, width, tail=None, fingerprint="")
    return image, EncoderMeta(TEXT, "text", dim, width, tail, fingerprint="")


def _config(dim: int, width: int) -> ModelConfig:
    return ModelConfig(
        labels=LABELS,
        fusion="concat",
        input_mode="multimodal",
        hidden_dims=list(HEAD.hidden_dims),
        dropout=HEAD.dropout,
        encoders=_encoders(dim, width, tail=None),
    )


def make_parts(count: int, dim: int, width: int, tail: dict[str, Any] | None) -> Parts:
    """Random samples to train on, none to validate on."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(*TOKENS, size=count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    hidden = rng.standard_normal((offsets[-1], width), np.float32).astype(np.float16)
    features = Features(
        meta=Meta(1, _encoders(dim, width, tail)),
        guids=[str(row) for row in range(count)],
        arrays={
            IMAGE: Arrays(rng.standard_normal((count, 1, dim), np.float32)),
            TEXT: Arrays(
                rng.standard_normal((count, 1, dim), np.float32), hidden=hidden, offsets=offsets
            ),
        },
    )
    targets = torch.from_numpy(rng.integers(len(LABELS), size=count))

    def part(rows: np.ndarray) -> Dataset:
        return Dataset(features, rows, targets[rows], [features.guids[row] for row in rows])

    none = np.arange(0)
    return Parts(LABELS, part(np.arange(count)), part(none), part(none), part(none))
