"""A server in a process of its own whose model takes its time: for tests of what signals do.

python -m tests.serve_slowly 0.5 10    # seconds for each batch; seconds to stop within
"""

import sys
import time
from collections.abc import Iterator, Sequence

import uvicorn

from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.serving import app, logs, server
from sentifuse.deploy.serving.limits import Limits


class Slow:
    """Answers after a while."""

    labels = ("good",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def use_threads(self, count: int) -> None:
        """It needs none."""

    def try_many(self, pairs: Sequence[Pair]) -> Iterator[Prediction]:
        time.sleep(self.seconds)
        for _ in pairs:
            yield Prediction("good", {"good": 1.0}, 1.0, 0.0, 0.0, 1.0, ("text",))


def main() -> None:
    seconds, within = map(float, sys.argv[1:])
    logs.set_up("json")
    limits = Limits(1000, 1000, 1000, 30.0, workers=1, queue=8, batch=1, delay=0.0)
    served = app.create_app(Slow(seconds), limits)  # type: ignore[arg-type]
    config = uvicorn.Config(served, port=0, log_config=None, access_log=False, lifespan="off")
    server.serve(config, served.state.batches, within)


if __name__ == "__main__":
    main()
