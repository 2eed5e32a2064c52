"""Tests of how many cores there are."""

import os

import pytest

from sentifuse.runtime import threads


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
