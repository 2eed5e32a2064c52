import subprocess
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from sentifuse.errors import UserError
from sentifuse.experiments import comparison
from sentifuse.metrics.significance import Difference

HEADER = "variant,seed,split_seed,train_samples,test_samples,accuracy,macro_f1"
COLUMNS = ["variant", "split_seed", "train_samples", "test_samples", "accuracy", "macro_f1"]


def runs(
    scores: dict[int | None, float], variant: str = "multimodal", sizes: tuple[int, int] = (80, 10)
) -> pd.DataFrame:
    rows = [(variant, split, *sizes, score, score / 2) for split, score in scores.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def compare(
    first: pd.DataFrame, second: pd.DataFrame, variant: str = "multimodal", level: float = 0.95
) -> dict[str, Difference]:
    found = comparison.compare({"one": first, "two": second}, variant, level)
    return {score: differences["two"] for score, differences in found.items()}


def test_the_difference_is_paired_by_split_and_told_in_points() -> None:
    first = runs({1: 0.50, 2: 0.60, 3: 0.90})
    second = runs({3: 0.80, 1: 0.50, 2: 0.61, 9: 0.0})
    found = compare(first, second)
    accuracy = found["accuracy"]
    # Differences 0, -1 and +10 points: mean 3, sample variance (9 + 16 + 49) / 2 = 37.
    assert accuracy.mean == pytest.approx(3.0)
    assert accuracy.standard_error == pytest.approx((37 * (1 / 3 + 10 / 80)) ** 0.5)
    assert (accuracy.wins, accuracy.pairs) == (1, 3)
    assert found["macro_f1"].mean == pytest.approx(1.5)


def test_the_interval_has_the_level_asked_for() -> None:
    first, second = runs({1: 0.50, 2: 0.60, 3: 0.90}), runs({1: 0.5, 2: 0.5, 3: 0.5})
    wide, narrow = (compare(first, second, level=level)["accuracy"] for level in (0.95, 0.5))
    # Quantiles of Student's t with two degrees of freedom: .975 and .75.
    for found, quantile in ((wide, 4.30265), (narrow, 0.816497)):
        assert found.high - found.mean == pytest.approx(quantile * found.standard_error, rel=1e-5)
        assert found.mean - found.low == pytest.approx(quantile * found.standard_error, rel=1e-5)


def test_only_the_asked_variant_counts() -> None:
    both = pd.concat([runs({1: 0.5, 2: 0.6}), runs({1: 0.1, 2: 0.1}, "text_only")])
    found = compare(both, runs({1: 0.0, 2: 0.0}, "text_only"), "text_only")
    assert found["accuracy"].mean == pytest.approx(10.0)


def test_an_experiment_does_not_differ_from_itself() -> None:
    some = runs({1: 0.5, 2: 0.6})
    found = compare(some, some)["accuracy"]
    assert (found.mean, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_each_of_several_is_compared_with_the_first_and_p_is_corrected_by_score() -> None:
    first, near, far = (
        runs({1: 0.50, 2: 0.60, 3: 0.90}),
        runs({1: 0.50, 2: 0.61, 3: 0.80}),
        runs({1: 0.40, 2: 0.51, 3: 0.79}),
    )
    found = comparison.compare({"a": first, "b": near, "c": far}, "multimodal")
    for score, differences in found.items():
        assert list(differences) == ["b", "c"]
        for other, table in (("b", near), ("c", far)):
            alone = compare(first, table)[score]
            assert alone.p_holm == alone.p_value
            assert replace(differences[other], p_holm=alone.p_holm) == alone
        # The smaller of two p-values counts twice, the larger once.
        assert differences["c"].p_holm == 2 * differences["c"].p_value < 0.05
        assert differences["b"].p_holm == differences["b"].p_value > 0.05


def test_of_several_the_pair_that_cannot_be_compared_is_named() -> None:
    some = runs({1: 0.5, 2: 0.5})
    with pytest.raises(UserError, match=r"^a - c, multimodal: 0 splits in common"):
        comparison.compare({"a": some, "b": some, "c": runs({3: 0.5, 4: 0.5})}, "multimodal")


def test_weighted_f1_is_compared_where_all_of_the_runs_have_it() -> None:
    plain = runs({1: 0.5, 2: 0.5})
    low, high = plain.assign(weighted_f1=0.5), plain.assign(weighted_f1=0.75)
    found = compare(high, low)
    assert list(found) == ["accuracy", "macro_f1", "weighted_f1"]
    assert (found["weighted_f1"].mean, found["accuracy"].mean) == (25, 0)
    three = comparison.compare({"new": high, "low": low, "old": plain}, "multimodal")
    assert list(three) == ["accuracy", "macro_f1"]


def test_too_few_common_splits_are_an_error() -> None:
    with pytest.raises(UserError, match=r"^one - two, multimodal: 1 splits in common: at least 2"):
        compare(runs({1: 0.5, 2: 0.5}), runs({2: 0.5, 3: 0.5}))


def test_a_variant_that_one_of_them_lacks_is_an_error() -> None:
    some = runs({1: 0.5, 2: 0.5})
    with pytest.raises(UserError, match=r"^one - two, film: 0 splits in common"):
        compare(some, some, "film")


@pytest.mark.parametrize("swap", [False, True])
def test_runs_on_one_split_are_refused(swap: bool) -> None:
    pair = runs({1: 0.5, 2: 0.5}), runs({None: 0.5})
    with pytest.raises(UserError, match=r"set ablate\.resplit=true$"):
        compare(*(reversed(pair) if swap else pair))


@pytest.mark.parametrize(
    ("sizes", "which"), [((79, 10), "train_samples"), ((80, 11), "test_samples")]
)
def test_splits_of_other_sizes_are_refused(sizes: tuple[int, int], which: str) -> None:
    first, second = runs({1: 0.5, 2: 0.5}), runs({1: 0.5, 2: 0.5}, sizes=sizes)
    with pytest.raises(UserError, match=f"^one - two, multimodal: {which} differ"):
        compare(first, second)


def test_runs_are_read_from_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    call("git", "init", "--quiet")
    call("git", "config", "user.email", "a@example.com")
    call("git", "config", "user.name", "A")
    call("dvc", "init", "--quiet")
    (tmp_path / "plots").mkdir()
    path = tmp_path / comparison.RUNS
    path.write_text(f"{HEADER}\nmultimodal,1,1,80,10,0.5,0.25\n")
    call("git", "add", "--all")
    call("git", "commit", "--quiet", "--message", "one")
    call("git", "tag", "one")
    path.write_text(f"{HEADER}\nmultimodal,1,,80,10,0.75,0.25\n")
    monkeypatch.chdir(tmp_path)
    found = comparison.read_runs(["one", "workspace"])
    assert list(found) == ["one", "workspace"]
    assert found["one"]["accuracy"].tolist() == [0.5]
    assert found["one"]["split_seed"].tolist() == [1]
    assert found["workspace"]["accuracy"].tolist() == [0.75]
    assert found["workspace"]["split_seed"].isna().all()
    with pytest.raises(UserError, match="none-such"):
        comparison.read_runs(["one", "none-such"])
    for twice in (["one", "workspace", "one"], ["one", "HEAD"], ["workspace", "workspace"]):
        told = f"^{twice[-1]}: the same revision as {twice[0]}: name each one once$"
        with pytest.raises(UserError, match=told):
            comparison.read_runs(twice)


def test_runs_of_a_version_that_knew_no_splits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], cwd=tmp_path, check=True)
    (tmp_path / "plots").mkdir()
    old = "variant,seed,accuracy,macro_f1\nmultimodal,1,0.5,0.25\n"
    (tmp_path / comparison.RUNS).write_text(old, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError,
        match=r"^workspace: plots/ablate_runs\.csv has no column split_seed: .*`dvc repro ablate`",
    ):
        comparison.read_runs(["workspace"])
