import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.serving import batching
from sentifuse.deploy.serving.batching import Batches
from sentifuse.deploy.serving.limits import Limits
from sentifuse.deploy.serving.metrics import Metrics
from sentifuse.errors import UserError


class FakePredictor:
    """Answers each text with itself, and remembers what it was asked together."""

    labels = ()

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: list[int] = []
        self.go = threading.Event()

    def use_threads(self, count: int) -> None:
        self.threads.append(count)

    def try_many(self, pairs: Sequence[Pair]) -> Iterator[Any]:
        texts = [pair.text or "" for pair in pairs]
        self.batches.append(texts)
        if not self.go.wait(5):
            raise AssertionError("was not let go")
        for text in texts:
            yield UserError(text) if text == "bad" else answer(text)

    def explain(self, image: Any, text: str) -> str:
        self.batches.append([text])
        if text == "bad":
            raise UserError(text)
        return f"because of {text}"


def answer(text: str) -> Prediction:
    return Prediction(text, {text: 1.0}, 1.0, 0.0, 0.0, 1.0, ("text",))


async def stays() -> None:
    await asyncio.sleep(60)


class Asked:
    """A queue, and what is asked of it."""

    def __init__(self, **changes: float) -> None:
        values = {"upload_bytes": 1, "pixels": 1, "text_characters": 1, "seconds": 5.0}
        load = {"workers": 1, "queue": 9, "batch": 4, "delay": 0.0}
        limits = Limits(**{**values, **load, **changes})  # type: ignore[arg-type]
        self.predictor = FakePredictor()
        self.batches = Batches(self.predictor, limits, Metrics("", ()))  # type: ignore[arg-type]

    async def ask(
        self, *texts: str, left: Callable[[], Awaitable[None]] = stays
    ) -> "list[asyncio.Task[tuple[Prediction, int]]]":
        """Asks for each, one after the other, without waiting for an answer."""
        asked = []
        for text in texts:
            call = self.batches.predict(Pair(text=text), left)
            asked.append(asyncio.create_task(call))
            await asyncio.sleep(0.01)
        return asked

    async def hold(self) -> "asyncio.Task[tuple[Prediction, int]]":
        """Keeps one worker busy until `go` is set."""
        [task] = await self.ask("held")
        return task


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await check()

    asyncio.run(main())


def status(task: "asyncio.Task[Any]") -> int:
    error = task.exception()
    assert isinstance(error, HTTPException)
    return error.status_code


def test_a_batch_that_is_alone_has_all_cores_and_others_share_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "cores", lambda: 4)

    async def check() -> None:
        asked = Asked(workers=5)
        tasks = await asked.ask("a", "b", "c", "d", "e")
        asked.predictor.go.set()
        await asyncio.gather(*tasks)
        assert asked.predictor.threads == [4, 2, 1, 1, 1]

    run(check)


def test_what_waits_for_a_worker_is_predicted_together_up_to_a_batch() -> None:
    async def check() -> None:
        own = Asked()
        held = await own.hold()
        tasks = await own.ask("a", "b", "c", "d", "e")
        own.predictor.go.set()
        answers = await asyncio.gather(held, *tasks)
        assert own.predictor.batches == [["held"], ["a", "b", "c", "d"], ["e"]]
        assert [found.label for found, _ in answers] == ["held", "a", "b", "c", "d", "e"]
        assert [size for _, size in answers] == [1, 4, 4, 4, 4, 1]
        assert own.batches.idle

    run(check)


def test_a_pair_to_be_explained_is_a_batch_of_its_own() -> None:
    async def check() -> None:
        asked = Asked()
        held = await asked.hold()
        one, two = await asked.ask("one", "two")
        explained = asyncio.create_task(asked.batches.explain(Pair(text="why"), stays))
        await asyncio.sleep(0.01)
        [three] = await asked.ask("three")
        asked.predictor.go.set()
        await asyncio.wait([held, one, two, explained, three])
        assert asked.predictor.batches == [["held"], ["one", "two"], ["why"], ["three"]]
        assert explained.result() == ("because of why", 1)
        bad = asyncio.create_task(asked.batches.explain(Pair(text="bad"), stays))
        await asyncio.wait([bad])
        assert isinstance(bad.exception(), UserError)
        assert asked.batches.idle

    run(check)


def test_a_free_worker_waits_for_more_but_not_longer_than_the_delay() -> None:
    async def check() -> None:
        own = Asked(delay=0.1)
        own.predictor.go.set()
        tasks = await own.ask("a", "b")
        assert own.predictor.batches == []
        await asyncio.gather(*tasks)
        tasks = await own.ask("c", "d", "e", "f")  # a full batch does not wait
        assert own.predictor.batches == [["a", "b"], ["c", "d", "e", "f"]]
        await asyncio.gather(*tasks)

    run(check)


def test_free_workers_share_what_waits() -> None:
    async def check() -> None:
        own = Asked(workers=2, delay=0.1)
        own.predictor.go.set()
        await asyncio.gather(*await own.ask("a", "b", "c"))
        assert sorted(own.predictor.batches) == [["a", "b"], ["c"]]

    run(check)


def test_a_bad_pair_does_not_spoil_its_batch() -> None:
    async def check() -> None:
        own = Asked()
        held = await own.hold()
        tasks = await own.ask("a", "bad", "b")
        own.predictor.go.set()
        found = await asyncio.gather(held, *tasks, return_exceptions=True)
        assert own.predictor.batches[1] == ["a", "bad", "b"]
        assert (found[1], found[3]) == ((answer("a"), 3), (answer("b"), 3))
        assert isinstance(found[2], UserError)

    run(check)


def test_a_full_queue_is_busy_until_a_place_is_free() -> None:
    async def check() -> None:
        own = Asked(workers=2, queue=1)
        tasks = await own.ask("a", "b", "c", "d")
        assert tasks[3].done()
        assert status(tasks[3]) == 503
        own.predictor.go.set()
        await asyncio.gather(*tasks[:3])
        assert (await asyncio.gather(*await own.ask("e")))[0] == (answer("e"), 1)

    run(check)


def test_an_answer_that_is_late_is_504_and_keeps_its_worker_until_it_ends() -> None:
    async def check() -> None:
        own = Asked(seconds=0.05, queue=0)
        [late] = await own.ask("late")
        await asyncio.wait([late])
        assert status(late) == 504
        [next_one] = await own.ask("next")
        assert status(next_one) == 503
        own.predictor.go.set()
        while not own.batches.idle:
            await asyncio.sleep(0.01)
        [(found, _)] = await asyncio.gather(*await own.ask("again"))
        assert found.label == "again"

    run(check)


def test_what_is_late_in_the_queue_is_never_begun_and_leaves_its_place() -> None:
    async def check() -> None:
        own = Asked(seconds=0.1, queue=1)
        held = await own.hold()
        [late] = await own.ask("late")
        await asyncio.wait([held, late])
        assert (status(held), status(late)) == (504, 504)
        [next_one] = await own.ask("next")
        own.predictor.go.set()
        await next_one
        assert own.predictor.batches == [["held"], ["next"]]

    run(check)


def test_a_pair_whose_client_left_is_never_begun() -> None:
    async def check() -> None:
        own = Asked()
        held = await own.hold()

        async def leaves() -> None:
            await asyncio.sleep(0.02)

        [gone] = await own.ask("gone", left=leaves)
        [stayed] = await own.ask("stayed")
        await asyncio.wait([gone])
        assert status(gone) == 499
        own.predictor.go.set()
        await asyncio.gather(held, stayed)
        assert own.predictor.batches == [["held"], ["stayed"]]

    run(check)


def test_when_it_stops_it_takes_no_more_but_answers_what_it_has() -> None:
    async def check() -> None:
        own = Asked()
        held = await own.hold()
        [waits] = await own.ask("waits")
        own.batches.stopping = True
        [refused] = await own.ask("refused")
        assert status(refused) == 503
        assert not own.batches.idle
        own.predictor.go.set()
        assert [found.label for found, _ in await asyncio.gather(held, waits)] == ["held", "waits"]
        assert own.batches.idle

    run(check)


@pytest.mark.parametrize("error", [ZeroDivisionError("of the program"), MemoryError()])
def test_an_error_nobody_expected_reaches_its_own_pair_and_leaves_the_worker(
    error: Exception,
) -> None:
    class Breaks(FakePredictor):
        def try_many(self, pairs: Sequence[Pair]) -> Iterator[Any]:
            for found in super().try_many(pairs):
                if found.label == "breaks":
                    raise error
                yield found

    async def check() -> None:
        own = Asked()
        own.predictor = own.batches._predictor = Breaks()  # type: ignore[assignment]
        held = await own.hold()
        tasks = await own.ask("a", "breaks", "b")
        own.predictor.go.set()
        found = await asyncio.gather(held, *tasks, return_exceptions=True)
        assert found[2] is error
        assert [found[1][0].label, found[3][0].label] == ["a", "b"]  # type: ignore[index]
        assert own.batches.idle

    run(check)
