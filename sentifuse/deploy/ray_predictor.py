"""Bulk prediction on a Ray cluster: each process loads the bundle once, answers come in the pairs' order.

Tasks hold whole batches of a `Predictor`, so that the figures are the same.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from sentifuse.deploy import bundle
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.pair_predictor import PAIRS_A_BATCH
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.predictor import Predictor
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.engines.cluster import Cluster
from sentifuse.runtime import worker

# Pairs per task: with one batch per task the cluster's driver would be too busy.
_PAIRS_A_TASK = 4 * PAIRS_A_BATCH


class RayPredictor:
    """Predicts as `predict_csv.Predicts` asks, with the processes of a cluster."""

    def __init__(
        self, cluster: Cluster, folder: Path, backbone: str | Mapping[str, str] | None
    ) -> None:
        """Checks the bundle, which lies at a place that every node sees; raises as `bundle.verify` does."""
        self._cluster = cluster
        self._arguments = {
            "folder": folder,
            "backbone": backbone,
            "libraries": encoding_record.versions(),
        }
        self.labels: Sequence[str] = bundle.verify(folder)["model"]["labels"]

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]:
        """As `Predictor.check_many`."""
        for answer in self._ask("check", pairs):
            yield None if answer is None else UserError(answer["problem"])

    def try_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction | UserError]:
        """As `Predictor.try_many`; takes up to two million pairs before it gives the first answer."""
        for answer in self._ask("predict", pairs):
            if "problem" in answer:
                yield UserError(answer["problem"])
            else:
                yield Prediction(**{**answer, "used": tuple(answer["used"])})

    def _ask(self, what: str, pairs: Iterable[Pair]) -> Iterator[Any]:
        """One answer per pair, in their order; tasks may end in any order."""
        early: dict[int, str] = {}
        following = 0
        arguments = {**self._arguments, "what": what}
        for number, answers in self._cluster.run(PairWorker, arguments, _tasks(pairs)):
            early[number] = answers
            while following in early:
                yield from json.loads(early.pop(following))
                following += 1


def _tasks(pairs: Iterable[Pair]) -> Iterator[str]:
    rest = iter(pairs)
    while some := list(islice(rest, _PAIRS_A_TASK)):
        # Paths stay as they were given, so that messages read as they do without a cluster.
        yield json.dumps(
            [[None if pair.image is None else str(pair.image), pair.text] for pair in some]
        )


class PairWorker:
    """Predicts in a process of the cluster."""

    def __init__(
        self,
        folder: Path,
        backbone: str | Mapping[str, str] | None,
        libraries: dict[str, str],
        what: str,
    ) -> None:
        """Loads the bundle to `check` or to `predict`; `libraries` are those of the process that asks."""
        if encoding_record.versions() != libraries:
            raise UserError(
                f"a node of the cluster has other libraries than this machine: {encoding_record.versions()} "
                f"there, {libraries} here: install the same requirements.txt on every node"
            )
        worker.start()
        predictor = Predictor.load(folder, backbone)
        self._answer: Callable[[list[Pair]], Iterator[Any]] = {
            "check": predictor.check_many,
            "predict": predictor.try_many,
        }[what]

    def __call__(self, task: str) -> str:
        """Answers each pair of a task."""
        pairs = [Pair(image and Path(image), text) for image, text in json.loads(task)]
        return json.dumps([_as_json(answer) for answer in self._answer(pairs)])


def _as_json(answer: Prediction | UserError | None) -> dict[str, Any] | None:
    if isinstance(answer, UserError):
        return {"problem": str(answer)}
    return None if answer is None else asdict(answer)
