"""Tests of how threads wait."""

import os

import pytest

from sentifuse import threads
from sentifuse.errors import run


def test_a_stage_lets_waiting_threads_give_their_core_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    seen: list[str | None] = []
    run(lambda: seen.append(os.environ.get("OMP_WAIT_POLICY")))
    assert seen == ["passive"]


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    threads.wait_passively()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_a_limit_on_the_cores_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert threads.cores() == 2


@pytest.mark.parametrize(("count", "expected"), [(8, 8), (None, 1)])
def test_where_no_limit_can_be_asked_for_all_cores_count(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert threads.cores() == expected
