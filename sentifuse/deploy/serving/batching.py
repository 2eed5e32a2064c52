"""Requests that wait are predicted together: the queue, and the threads that work it off.

Threads, and not processes: one that predicts holds Python's lock 6 % of the time at most, and one process has
one model in memory, one queue and one set of metrics. `docs/serving.md` has what was measured.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Any

from starlette.exceptions import HTTPException

from sentifuse.deploy.answers import Explanation, Prediction
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.serving.limits import CLIENT_LEFT, Limits
from sentifuse.deploy.serving.metrics import Metrics
from sentifuse.runtime.threads import cores


@dataclass(eq=False)
class _Waiting:
    """A pair, its answer to come with the size of its batch, and when it arrived, in the loop's time.

    The answer is an explanation if it is to be explained: such a pair is a batch of its own.
    """

    pair: Pair
    answer: "asyncio.Future[tuple[Any, int]]"
    arrived: float
    explained: bool


class Batches:
    """The queue and its workers; everything but the predictions happens in the thread of the event loop.

    Attributes:
        stopping: set it, and no more pairs are taken.
    """

    stopping: bool = False

    def __init__(self, predictor: PairPredictor, limits: Limits, metrics: Metrics) -> None:
        self._predictor, self._limits, self._metrics = predictor, limits, metrics
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="predict")
        self._free = limits.workers
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        metrics.watch_queue(lambda: len(self._waiting))

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is worked on."""
        return not self._waiting and self._free == self._limits.workers

    async def predict(
        self, pair: Pair, left: Callable[[], Awaitable[None]]
    ) -> tuple[Prediction, int]:
        """Predicts a pair together with others, and says how many pairs the batch had.

        Args and errors are those of `explain`.
        """
        return await self._answer(pair, left, explained=False)

    async def explain(
        self, pair: Pair, left: Callable[[], Awaitable[None]]
    ) -> tuple[Explanation, int]:
        """Explains a pair, which keeps a worker as long as some thirty predictions do; the batch has 1 pair.

        A pair whose client left, or whose time is over, is not predicted if its batch has not begun. A
        thread cannot be stopped: a batch that is late keeps its worker until it ends.

        Args:
            pair: to be predicted.
            left: returns when the client leaves.

        Raises:
            UserError: as `PairPredictor.predict`, whatever the others in the batch are.
            HTTPException: 503 if the queue is full or the server stops, 504 if the answer takes too long, 499
                if the client left.
        """
        return await self._answer(pair, left, explained=True)

    async def _answer(
        self, pair: Pair, left: Callable[[], Awaitable[None]], explained: bool
    ) -> tuple[Any, int]:
        if self.stopping:
            again = {"Retry-After": "5", "Connection": "close"}
            raise HTTPException(503, "the server stops: try again in some seconds", again)
        if not self._free and len(self._waiting) >= self._limits.queue:
            raise HTTPException(503, "busy: try again in a second", {"Retry-After": "1"})
        loop = asyncio.get_running_loop()
        own = _Waiting(pair, loop.create_future(), loop.time(), explained)
        self._waiting.append(own)
        self._fill()
        gone: asyncio.Future[Any] = asyncio.ensure_future(left())
        ends = {own.answer, gone}
        try:
            await asyncio.wait(ends, timeout=self._limits.seconds, return_when="FIRST_COMPLETED")
            if own.answer.done():
                return own.answer.result()
            if gone.done():
                raise HTTPException(CLIENT_LEFT, "the client left")
            raise HTTPException(504, f"no answer within {self._limits.seconds:g} s")
        finally:
            gone.cancel()
            own.answer.cancel()
            if own in self._waiting:
                self._waiting.remove(own)

    def _fill(self) -> None:
        """Gives free workers what waits, as soon as it is a full batch or has waited long enough."""
        loop = asyncio.get_running_loop()
        while self._free and self._waiting:
            left = self._waiting[0].arrived + self._limits.delay - loop.time()
            if left > 0 and len(self._waiting) < self._limits.batch:
                if self._timer is None:
                    self._timer = loop.call_later(left, self._wake)
                return
            # Free workers share what there is: two halves side by side are ready before one whole.
            share = min(ceil(len(self._waiting) / self._free), self._limits.batch)
            batch = [self._waiting.popleft()]
            while len(batch) < share and not (batch[0].explained or self._waiting[0].explained):
                batch.append(self._waiting.popleft())
            self._start(batch)

    def _wake(self) -> None:
        self._timer = None
        self._fill()

    def _start(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        self._metrics.batch_started([loop.time() - each.arrived for each in batch])
        self._free -= 1
        pairs = [each.pair for each in batch]
        call = self._explanation if batch[0].explained else self._answers
        # Whoever works alone has all cores. A batch that starts beside others does not take theirs.
        threads = max(1, cores() // (self._limits.workers - self._free))
        work = loop.run_in_executor(self._pool, self._with_threads, threads, call, pairs)

        def end(done: "asyncio.Future[Sequence[Any]]") -> None:
            self._free += 1
            for each, found in zip(batch, done.result(), strict=True):
                if each.answer.done():  # nobody waits for it any more
                    continue
                if isinstance(found, Exception):
                    each.answer.set_exception(found)
                else:
                    each.answer.set_result((found, len(batch)))
            self._fill()

        work.add_done_callback(end)

    def _with_threads(
        self, threads: int, call: Callable[[Sequence[Pair]], Sequence[Any]], pairs: Sequence[Pair]
    ) -> Sequence[Any]:
        self._predictor.use_threads(threads)
        return call(pairs)

    def _explanation(self, pairs: Sequence[Pair]) -> Sequence[Explanation | Exception]:
        [pair] = pairs
        try:
            return [self._predictor.explain(pair.image, pair.text)]
        except Exception as error:
            return [error]

    def _answers(self, pairs: Sequence[Pair]) -> Sequence[Prediction | Exception]:
        """One answer or error for each pair; a mistake of the program meets only the pair that causes it."""
        try:
            return list(self._predictor.try_many(pairs))
        except Exception as error:
            if len(pairs) == 1:
                return [error]
            return [found for pair in pairs for found in self._answers([pair])]
