"""The process that serves: it stops when it is told to, and answers what it has taken before."""

import logging
import os
import time
from types import FrameType

import uvicorn

from sentifuse.deploy.serving.batching import Batches

_SECONDS_TO_SEND = 5  # of the last answers, to clients that read slowly


class Server(uvicorn.Server):
    """Stops in two steps at SIGTERM or SIGINT; a second signal ends it at once.

    First it takes no more pairs, and `/health` says 503, so that whoever balances the load sends no more.
    When all that was taken is answered, or the time is over, it closes.
    """

    def __init__(self, config: uvicorn.Config, batches: Batches, seconds: float) -> None:
        """Takes the `seconds` that answers have after the signal."""
        super().__init__(config)
        self._batches, self._seconds, self._end = batches, seconds, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What a signal does. Uvicorn would raise it again in the end, and the exit status be its number."""
        if self._batches.stopping:
            self.should_exit = self.force_exit = True
        self._batches.stopping = True
        self._end = time.monotonic() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Whether to close now; is asked ten times a second."""
        late = time.monotonic() > self._end
        stopped = self._batches.stopping and (self._batches.idle or late)
        return await super().on_tick(counter) or stopped


def serve(config: uvicorn.Config, batches: Batches, seconds: float) -> None:
    """Serves until it is told to stop; ends the process with status 1 if pairs were left unanswered."""
    config.timeout_graceful_shutdown = _SECONDS_TO_SEND
    Server(config, batches, seconds).run()
    if not batches.idle:
        # A thread cannot be stopped, and Python would wait for it.
        logging.getLogger("sentifuse.serve").error("stopped after %g s with pairs in work", seconds)
        logging.shutdown()
        os._exit(1)
