"""Models of the hub or of a local folder, in the files that `transformers` reads.

Other versions of `transformers`, and other programs, wrote them. A file that is missing or does not fit is
told in one line. Nothing in a model's files is run: weights are safetensors, or pickles read with
`weights_only`.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sentifuse.encoders import foreign, loading
from sentifuse.encoders.foreign import check_fetched, read_keys
from sentifuse.encoders.image_processor import PREPROCESSOR, PROCESSOR
from sentifuse.errors import UserError

# In the order in which transformers looks for them.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What a tokenizer may be made of.
_TOKENIZERS = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("vocab.txt",),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
    ("tokenizer.model",),
)
# Older files hold the numbers 0, 1, 2, ... as if they were weights.
_NO_WEIGHTS = "position_ids"


@dataclass(frozen=True)
class Place:
    """Where a model is.

    Attributes:
        key: of `params.yaml`, such as `backbone.text`; stands in front of messages.
        name: as it stands there.
        repository: a folder, or a hub id without its revision.
        revision: commit, tag or branch of a hub repository; None for its default.
    """

    key: str
    name: str
    repository: str
    revision: str | None

    @classmethod
    def of(cls, key: str, name: str) -> "Place":
        """The place that `name` means: a folder, or a hub id with or without `@revision`."""
        repository, at, revision = name.rpartition("@")
        if Path(name).is_dir() or not at or not repository or not revision:
            return cls(key, name, name, None)
        return cls(key, name, repository, revision)

    @property
    def source(self) -> str:
        """What stands in front of messages."""
        return f"{self.key}: {self.name!r}"

    @property
    def folder(self) -> Path | None:
        """The folder, or None for a hub id."""
        return Path(self.repository) if Path(self.repository).is_dir() else None

    def find(self, file: str) -> Path | None:
        """A file of the model; None for one that it does not have."""
        from transformers.utils.hub import cached_file

        try:
            return Path(str(cached_file(self.repository, file, revision=self.revision)))
        except OSError:
            return None

    @contextmanager
    def fetching(self, file: str) -> Iterator[None]:
        """Says in one line what is wrong with a file, or how to get a model that is not here."""
        try:
            with foreign.reading(f"{self.source}: {file}", "fetch the files again"):
                yield
        except UserError as error:
            cause = error.__cause__
            if "trust_remote_code" in str(cause):
                raise UserError(
                    f"{self.source}: the model needs code of its own, which is not run here: take one that "
                    "transformers has itself"
                ) from error
            # With these transformers says that the hub and its cache do not have the file.
            if not isinstance(cause, OSError | ValueError) or self.folder is not None:
                raise
            at = f" --revision {self.revision}" if self.revision else ""
            raise UserError(
                f"{self.source}: no such folder, and the hub and its cache did not give {file} "
                f"({foreign.reason(cause)}); on a machine with a network run `hf download "
                f"{self.repository}{at} --local-dir FOLDER`, copy FOLDER here and set {self.key}=FOLDER"
            ) from error


def config(place: Place, modality: str) -> Any:
    """The config of `transformers`; the files of a folder are checked.

    Args:
        place: of the model.
        modality: `image` or `text`: decides which files there must be.

    Raises:
        UserError: no such model, or a file that is missing or not fetched.
    """
    from transformers import AutoConfig

    if place.folder is not None:
        read_keys(place.folder / "config.json", place.source)
    with place.fetching("config.json"):
        found = AutoConfig.from_pretrained(
            place.repository, revision=place.revision, trust_remote_code=False
        )
    if place.folder is not None:
        _check_files(place.folder, modality, place.source)
    return found


def model(place: Place, kind: Any, layers: str, keep_pooler: bool = False) -> Any:
    """Loads a model of `transformers` in float32, in eval mode.

    Args:
        place: where it is.
        kind: its class.
        layers: where its layers are: the file must not have more of them than the config says; empty for
            a model of which nothing is known.
        keep_pooler: whether what the model has above its states is kept, if its weights are there.

    Raises:
        UserError: the file cannot be read, or a weight is missing or of another shape.
    """
    with place.fetching("config.json and the weights"):
        # A `.bin` file, all that some repositories have, is read with `weights_only`: no code in it runs.
        loaded, report = foreign.load_reporting(
            kind,
            place.repository,
            revision=place.revision or "main",
            dtype=torch.float32,
            trust_remote_code=False,
        )
    drawn = any(name.startswith("pooler.") for name in report["missing_keys"])
    if getattr(loaded, "pooler", None) is not None and (drawn or not keep_pooler):
        loaded.pooler = None
    _check_loaded(place.source, loaded, layers, report)
    return loaded


def _check_files(folder: Path, modality: str, source: str) -> None:
    """Checks that a folder has the files of a model, fetched in whole."""
    keys = read_keys(folder / "config.json", source)
    explicit = keys.get("transformers_weights")
    if explicit is not None and not isinstance(explicit, str):
        keys.refuse("transformers_weights", "the name of a file")
    names = _first(folder, source, [(name,) for name in ([explicit] if explicit else _WEIGHTS)])
    if names[0].endswith(".index.json"):
        index = read_keys(folder / names[0], source)
        shards = index.get("weight_map")
        if not isinstance(shards, dict) or not shards:
            index.refuse("weight_map", "the file of each weight")
        for shard in sorted(set(map(str, shards.values()))):
            check_fetched(folder / shard, f"{source}: {names[0]}")
    if modality == "text":
        _first(folder, source, _TOKENIZERS)
    else:
        _first(folder, source, [(PREPROCESSOR,), (PROCESSOR,)])


def _first(folder: Path, source: str, choices: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the first of `choices` whose files are all there, and checks them."""
    for names in choices:
        if all((folder / name).exists() for name in names):
            for name in names:
                check_fetched(folder / name, source)
            return names
    told = ", or ".join(" with ".join(names) for names in choices)
    raise UserError(f"{source}: no {told} in this folder: fetch it from where the folder came from")


def _check_loaded(source: str, loaded: Any, layers: str, report: Mapping[str, Any]) -> None:
    """Checks that all weights come from the file, and that it has no layers beyond those of the config.

    A loader draws at random what it does not find. Weights of heads, or of the other half of a CLIP model,
    are none of this model's.
    """
    missing = [
        name
        for name in report["missing_keys"]
        if not name.endswith(_NO_WEIGHTS) and not name.startswith("pooler.")
    ]
    unexpected = [name for name in report["unexpected_keys"] if not name.endswith(_NO_WEIGHTS)]
    prefix = loading.prefix(missing, unexpected)
    starts = (f"{layers}.", f"{loaded.base_model_prefix}.{layers}.")
    beyond = [name for name in unexpected if layers and name.startswith(starts)]
    mismatched = report["mismatched_keys"]
    told = loading.difference(missing, beyond, mismatched)
    if not told:
        return
    if prefix:
        remedy = f"all of them have the prefix {prefix!r} in the file: save them without it"
    elif mismatched:
        remedy = "config.json is that of another model: fetch both files from one place"
    else:
        remedy = "fetch the folder again, or save the whole model with save_pretrained"
    raise UserError(f"{source}: {told}: {remedy}")
