"""What the server counts, for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PAIRS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one server; no label holds what a client can choose freely."""

    def __init__(self, digest: str, labels: Sequence[str]) -> None:
        """Starts at zero.

        Args:
            digest: SHA-256 of the model.
            labels: its class names.
        """
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        Info("sentifuse_model", "The model that is served", registry=own).info({"sha256": digest})
        self._requests = Counter(
            "sentifuse_requests",
            "Requests that were answered or refused",
            ["path", "status"],
            registry=own,
        )
        self._seconds = Histogram(
            "sentifuse_request_seconds",
            "From the head of a request to the end of its answer",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self._batches = Histogram(
            "sentifuse_batch_pairs",
            "Pairs that were predicted together",
            buckets=_PAIRS,
            registry=own,
        )
        self._waited = Histogram(
            "sentifuse_queue_seconds", "Time of a pair in the queue", buckets=_SECONDS, registry=own
        )
        self._queue = Gauge("sentifuse_queue_pairs", "Pairs that wait now", registry=own)
        self._answers = Counter(
            "sentifuse_answers", "Answers by their label", ["label"], registry=own
        )
        for label in labels:  # a label that was never the answer is told, too
            self._answers.labels(label)

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Lets `length` say how many pairs wait."""
        self._queue.set_function(length)

    def batch_started(self, waited: Sequence[float]) -> None:
        """Counts a batch, by the seconds that each of its pairs was in the queue."""
        self._batches.observe(len(waited))
        for seconds in waited:
            self._waited.observe(seconds)

    def request_ended(self, path: str, status: int, seconds: float) -> None:
        """Counts a request; `path` is one that the server has, or `other`."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def answered(self, label: str) -> None:
        """Counts an answer."""
        self._answers.labels(label).inc()

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)
