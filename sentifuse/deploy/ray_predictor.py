"""Bulk prediction on a Ray cluster: the bundle is loaded once a process, answers come in the rows' order.

Pairs go out in the batches in which a `Predictor` would take them, so that the figures are the same.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from sentifuse.deploy import bundle
from sentifuse.deploy.predictor import PAIRS_A_BATCH, Pair, Prediction, Predictor
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.engines.cluster import Cluster
from sentifuse.runtime import worker

# Pairs a task: a batch each would keep the cluster's driver busy.
_PAIRS_A_TASK = 4 * PAIRS_A_BATCH


class RayPredictor:
    """What `predict_csv` asks of a predictor, by the processes of a cluster."""

    def __init__(self, cluster: Cluster, folder: Path, backbone: str | None) -> None:
        """Looks at the bundle.

        Args:
            cluster: who predicts.
            folder: the bundle; every node sees it.
            backbone: where the backbone is, as in `Predictor.load`.

        Raises:
            UserError: no bundle there, or a damaged one.
        """
        self._cluster = cluster
        self._arguments = {
            "folder": folder,
            "backbone": backbone,
            "libraries": encoding_record.versions(),
        }
        self.labels: Sequence[str] = bundle.load(folder).model.config.labels

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]:
        """As `Predictor.check_many`."""
        for said in self._ask("check", pairs):
            yield None if said is None else UserError(said["problem"])

    def try_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction | UserError]:
        """As `Predictor.try_many`; takes up to two million pairs before it gives the first answer."""
        for said in self._ask("predict", pairs):
            if "problem" in said:
                yield UserError(said["problem"])
            else:
                yield Prediction(**{**said, "used": tuple(said["used"])})

    def _ask(self, what: str, pairs: Iterable[Pair]) -> Iterator[Any]:
        """One answer a pair, in their order."""
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
        # A path is told as it was given, so that messages read as they do without a cluster.
        yield json.dumps(
            [[None if pair.image is None else str(pair.image), pair.text] for pair in some]
        )


class PairWorker:
    """What predicts in a process of the cluster."""

    def __init__(
        self, folder: Path, backbone: str | None, libraries: dict[str, str], what: str
    ) -> None:
        """Loads the bundle.

        Args:
            folder: the bundle.
            backbone: where its backbone is.
            libraries: `encoding_record.versions` of the process that asks.
            what: `check` or `predict`.

        Raises:
            UserError: the bundle cannot be used here, or this node has other libraries.
        """
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
        return json.dumps([_said(answer) for answer in self._answer(pairs)])


def _said(answer: Prediction | UserError | None) -> dict[str, Any] | None:
    if isinstance(answer, UserError):
        return {"problem": str(answer)}
    return None if answer is None else asdict(answer)
