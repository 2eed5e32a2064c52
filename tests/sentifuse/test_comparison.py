import subprocess
from pathlib import Path

import pandas as pd
import pytest

from sentifuse import comparison
from sentifuse.errors import UserError


def runs(scores: dict[int, float], variant: str = "multimodal") -> pd.DataFrame:
    rows = [(variant, seed, score, score / 2) for seed, score in scores.items()]
    return pd.DataFrame(rows, columns=["variant", "seed", "accuracy", "macro_f1"])


def test_the_difference_is_paired_by_seed_and_told_in_points() -> None:
    first = runs({1: 0.50, 2: 0.60, 3: 0.90})
    second = runs({3: 0.80, 1: 0.50, 2: 0.61, 9: 0.0})
    found = comparison.compare(first, second, "multimodal")
    accuracy = found["accuracy"]
    # Differences 0, -1 and +10 points: mean 3, sample variance (9 + 16 + 49) / 2 = 37.
    assert accuracy.mean == pytest.approx(3.0)
    assert accuracy.standard_error == pytest.approx((37 / 3) ** 0.5)
    assert (accuracy.wins, accuracy.splits) == (1, 3)
    assert found["macro_f1"].mean == pytest.approx(1.5)


def test_only_the_asked_variant_counts() -> None:
    both = pd.concat([runs({1: 0.5, 2: 0.6}), runs({1: 0.1, 2: 0.1}, "text_only")])
    found = comparison.compare(both, runs({1: 0.0, 2: 0.0}, "text_only"), "text_only")
    assert found["accuracy"].mean == pytest.approx(10.0)


def test_too_few_common_seeds_are_an_error() -> None:
    with pytest.raises(UserError, match="1 seeds in common"):
        comparison.compare(runs({1: 0.5, 2: 0.5}), runs({2: 0.5, 3: 0.5}), "multimodal")


def test_runs_are_read_from_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    call("git", "init", "--quiet")
    call("git", "config", "user.email", "a@example.com")
    call("git", "config", "user.name", "A")
    call("dvc", "init", "--quiet")
    (tmp_path / "plots").mkdir()
    path = tmp_path / comparison.RUNS
    path.write_text("variant,seed,accuracy,macro_f1\nmultimodal,1,0.5,0.25\n")
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--message", "one")
    call("git", "tag", "one")
    path.write_text("variant,seed,accuracy,macro_f1\nmultimodal,1,0.75,0.25\n")
    monkeypatch.chdir(tmp_path)
    assert comparison.read_runs("one")["accuracy"].tolist() == [0.5]
    assert comparison.read_runs("workspace")["accuracy"].tolist() == [0.75]
    with pytest.raises(UserError, match="none-such"):
        comparison.read_runs("none-such")
