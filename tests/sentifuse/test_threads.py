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
