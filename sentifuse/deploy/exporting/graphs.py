"""The parts of a bundle as graphs of ONNX: each encoder with its tails, and what decides on their outputs.

They compute in float32. Token and hidden states pass through float16 where the stored features did, so that
the graphs compute the same function as the bundle.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from sentifuse.data.images import ImageSpec
from sentifuse.deploy.exported.files import output
from sentifuse.encoders.interface import AnyEncoder, TextEncoder
from sentifuse.errors import UserError
from sentifuse.features.batches import States
from sentifuse.features.encoding import EncoderRecord, normalise
from sentifuse.metrics.shapley import COALITIONS
from sentifuse.models.classifier import INPUT_MODES, Classifier
from sentifuse.models.ensemble import Ensemble, vote
from sentifuse.runtime import linear

# The first with a GELU of its own.
OPSET = 20
# The sizes of an example must differ from each other and from 1, or one is taken for the other.
_BATCH, _VIEWS, _PATCHES, _LENGTH = 2, 3, 5, 7


@dataclass(frozen=True)
class Read:
    """What fusion reads of one encoder.

    Attributes:
        record: how it encodes.
        dim: width D of its embedding.
        token_dim: width H of its tokens.
        tails: its tail in each model that votes; empty if no layer is finetuned.
        tokens: whether fusion reads its tokens, too.
    """

    record: EncoderRecord
    dim: int
    token_dim: int
    tails: Sequence[nn.Module]
    tokens: bool

    @property
    def names(self) -> list[str]:
        """The outputs of its graph, and inputs of the decision's, in their order."""
        kinds = ("embedding", "tokens") if self.tokens else ("embedding",)
        numbers = range(max(1, len(self.tails)))
        return [output(self.record.key, number, kind) for number in numbers for kind in kinds]


class EncoderGraph(nn.Module):
    """An encoder, and the tails of all models that vote behind it."""

    def __init__(self, encoder: AnyEncoder, read: Read, hidden_dtype: str) -> None:
        super().__init__()
        self.encoder, self.read = encoder, read
        self._narrow = getattr(torch, hidden_dtype)
        self.parts, self.tails = encoder.parts, nn.ModuleList(read.tails)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """uint8 pixels (B, S, S, 3) or ids (B, T) -> the tensors of `Read.names`."""
        own = self.read
        if isinstance(own.record.spec, ImageSpec):
            inputs = normalise(inputs, own.record.spec)
        split = own.record.split if own.tails else 0
        found = self.encoder.compute(inputs, split, own.tokens)
        if not own.tails:
            tokens = found.tokens
            return (found.embedding,) if tokens is None else (found.embedding, self._kept(tokens))
        assert found.hidden is not None
        hidden, out = self._kept(found.hidden), []
        for tail in self.tails:
            embedding, tokens = tail(hidden, None, own.tokens)
            out += [embedding] if tokens is None else [embedding, tokens]
        return tuple(out)

    def _kept(self, states: Tensor) -> Tensor:
        """States as the features have them."""
        return states.to(self._narrow).float()


class DecisionGraph(nn.Module):
    """Norms, fusion and head of all models that vote, for each of `COALITIONS`."""

    def __init__(self, members: Sequence[Classifier], reads: Sequence[Read]) -> None:
        super().__init__()
        self.members = nn.ModuleList(_without_tails(member) for member in members)
        self.reads = reads
        read = {each.record.key for each in reads}
        self._unread = [each.key for each in members[0].config.encoders if each.key not in read]

    @property
    def names(self) -> list[str]:
        """Its inputs in their order."""
        found: list[str] = []
        for each in self.reads:
            found += each.names
            if each.tokens and each.record.modality == "text":
                found.append(f"{each.record.key}.mask")
        return found

    def forward(self, *inputs: Tensor) -> Tensor:
        """The tensors of `names` -> logits (4, B, C)."""
        given = dict(zip(self.names, inputs, strict=True))
        logits = [
            member.without(self._batch(given, number), COALITIONS)
            for number, member in enumerate(cast(Sequence[Classifier], self.members))
        ]
        return logits[0] if len(logits) == 1 else vote(logits)

    def _batch(self, given: Mapping[str, Tensor], member: int) -> dict[str, States]:
        # A modality that no member ever reads is zeros; of it only the number of samples matters.
        batch = dict.fromkeys(self._unread, States(given[self.names[0]]))
        return batch | {
            (key := each.record.key): States(
                given[output(key, member if each.tails else 0, "embedding")],
                given.get(output(key, member if each.tails else 0, "tokens")),
                None,
                given.get(f"{key}.mask"),
            )
            for each in self.reads
        }


def reads(model: Classifier | Ensemble, records: Collection[EncoderRecord]) -> list[Read]:
    """What the model reads of each encoder, in its order; none of a modality that it never reads."""
    members = members_of(model)
    needs, own = model.needs, {each.key: each for each in records}
    return [
        Read(
            own[each.key],
            each.dim,
            each.token_dim,
            [member.tails[each.key] for member in members if each.key in member.tails],
            each.key in needs.tokens,
        )
        for each in model.config.encoders
        if each.modality not in INPUT_MODES[model.config.input_mode]
    ]


def members_of(model: Classifier | Ensemble) -> list[Classifier]:
    """The models that vote, or the only one."""
    return list(model.members) if isinstance(model, Ensemble) else [model]  # type: ignore[arg-type]


def encoder(graph: EncoderGraph) -> bytes:
    """The graph of an encoder as an ONNX file; the model's weights stay as they are.

    Raises:
        UserError: the exporter cannot do it.
    """
    own = graph.read
    spec, key = own.record.spec, own.record.key
    if isinstance(spec, ImageSpec):
        example = torch.zeros(_BATCH, spec.crop, spec.crop, 3, dtype=torch.uint8)
        name, dynamic = "pixels", {0: Dim.DYNAMIC}
    else:
        ids = cast(TextEncoder, graph.encoder).tokenize(["a good day"])[0]
        example = torch.tensor([ids] * _BATCH)
        name, dynamic = "ids", {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}
    told = f"the encoder {key} ({own.record.name!r})"
    return _exported(graph, (example,), ({**dynamic},), [name], own.names, told)


def decision(graph: DecisionGraph) -> bytes:
    """The graph of the decision as an ONNX file; raises as `encoder` does."""
    inputs, dynamic = [], []
    for each in graph.reads:
        is_image = each.record.modality == "image"
        views, tokens = (_VIEWS, _PATCHES) if is_image else (1, _LENGTH)
        for name in each.names:
            if name.endswith("embedding"):
                inputs.append(torch.randn(_BATCH, views, each.dim))
                dynamic.append({0: Dim.DYNAMIC} | ({1: Dim.DYNAMIC} if is_image else {}))
            else:
                inputs.append(torch.randn(_BATCH, tokens, each.token_dim))
                dynamic.append({0: Dim.DYNAMIC, 1: Dim.DYNAMIC})
        if each.tokens and not is_image:
            inputs.append(torch.ones(_BATCH, _LENGTH, dtype=torch.bool))
            dynamic.append({0: Dim.DYNAMIC, 1: Dim.DYNAMIC})
    return _exported(
        graph, tuple(inputs), (tuple(dynamic),), graph.names, ["logits"], "fusion and head"
    )


def _without_tails(member: Classifier) -> Classifier:
    """The same classifier for embeddings and tokens that come from behind the tails."""
    config = member.config
    bare = [replace(each, tail=None) for each in config.encoders]
    with torch.device("meta"):
        found = Classifier(replace(config, encoders=bare))
    weights = {
        name: value.float()
        for name, value in member.state_dict().items()
        if not name.startswith("tails.")
    }
    found.load_state_dict(weights, assign=True)
    return found.eval()


def _exported(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    dynamic: Any,
    inputs: Sequence[str],
    outputs: Sequence[str],
    told: str,
) -> bytes:
    linear.plain(graph)
    graph.requires_grad_(False).eval()
    try:
        with _quiet():
            found = torch.onnx.export(
                graph,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dynamic,
                verbose=False,
            )
            assert found is not None
            proto = found.model_proto
            for node in proto.graph.node:
                del node.metadata_props[:]  # stack traces, with the paths of this machine
            raw: bytes = proto.SerializeToString()
    except Exception as error:  # the exporter has many
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"export: {told} cannot be written as ONNX ({type(error).__name__}: {first[0]}): "
            "finetune another encoder, or use the bundle"
        ) from error
    return raw


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within the block torch's exporter says nothing: it logs and warns of what the user cannot change."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
