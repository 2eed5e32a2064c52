from collections.abc import Iterable
from pathlib import Path

import pytest

from sentifuse.errors import UserError
from sentifuse.experiments import read as experiments
from sentifuse.experiments.read import Experiment
from tests import search

pytestmark = pytest.mark.pipeline


def by_name(found: Iterable[Experiment]) -> dict[str, Experiment]:
    return {one.name: one for one in found}


def test_all_experiments_and_their_commits_are_read_with_typed_params(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    read, skipped = experiments.read()
    found = by_name(read)
    runs = ["gated", "fast", "slow", "film"]
    assert [one.name for one in read][:4] == runs
    # `film` derives from `main`, the others from the commit before, which has no name.
    (first_commit,) = {found[name].baseline for name in runs[:3]}
    assert list(found)[4:] == [first_commit, "main", "workspace"]
    assert found["film"].baseline == "main"
    assert skipped == {}
    assert found["fast"].params == {
        "seed": 42,
        "fusion": "concat",
        "backbone.fingerprint": None,
        "head.hidden_dims": [],
        "stage2.lr_clip": 1e-3,
        "stage2.restart_head": True,
    }
    assert found["slow"].params["stage2.lr_clip"] == 5e-6
    assert found["slow"].metrics == pytest.approx(
        {
            "val.macro_f1": 0.6 + 0.1 * -1.30103 + 0.06,
            "val.samples": 60,
            "val.interval.macro_f1.low": 0.1,
            "val.interval.macro_f1.high": 0.9,
            "test.macro_f1": 0.4 + 0.130103 - 0.06,
            "ablate.multimodal.macro_f1.mean": 0.5,
        }
    )
    assert found["slow"].created.endswith("Z")
    # Both later ones are the first commit's results again.
    assert [found[name].same_as for name in list(found)[4:]] == ["", first_commit, first_commit]


def test_a_workspace_whose_params_were_not_run_is_stale(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    path = searched / "params.yaml"
    path.write_text(path.read_text().replace("concat", "gated"))
    read, skipped = experiments.read()
    assert "workspace" not in by_name(read)
    assert skipped == {"stale": 1}


def test_metrics_of_a_stage_that_was_not_run_again_are_left_out(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    path = searched / "dvc.lock"
    ablate = "  ablate:\n    cmd: ablate\n    params:\n      params.yaml: {seed: 7}\n"
    own = "    - path: metrics/ablate.json\n"
    assert own in path.read_text()
    lock = path.read_text().replace(own, "    - path: metrics/other.json\n")
    path.write_text(f"{lock}{ablate}    outs:\n{own}")
    found = by_name(experiments.read()[0])
    assert found["workspace"].stale == ("metrics/ablate.json",)
    assert "ablate.multimodal.macro_f1.mean" not in found["workspace"].metrics
    assert "val.macro_f1" in found["workspace"].metrics
    assert found["gated"].stale == ()


def test_queued_experiments_are_counted_only(
    searched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(searched)
    search.call(searched, "dvc", "exp", "run", "--queue", "--name", "later", "-S", "seed=1,2")
    read, skipped = experiments.read()
    assert skipped == {"queued": 2}
    assert len(read) == 7


def test_commits_without_results_are_counted_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    search.call(tmp_path, "git", "init", "--quiet")
    search.call(tmp_path, "dvc", "init", "--quiet")
    assert experiments.read() == ((), {})
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    search.call(tmp_path, "git", *identity, "commit", "--quiet", "--message", "one")
    assert experiments.read() == ((), {"without metrics": 2})


def test_only_a_dvc_repository_with_git_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no DVC repository here"):
        experiments.read()
    search.call(tmp_path, "dvc", "init", "--quiet", "--no-scm")
    with pytest.raises(UserError, match="need a Git repository"):
        experiments.read()


def test_a_repeat_names_the_first_of_its_kind() -> None:
    runs = [
        search.experiment("a", 0.5, seed=1),
        search.experiment("b", 0.5, seed=2),
        search.experiment("c", 0.5, seed=1),
        search.experiment("d", 0.6, seed=1),
        search.experiment("e", 0.5, seed=1),
    ]
    marked = experiments.mark_repeats(runs)
    assert [one.same_as for one in marked] == ["", "", "a", "", "a"]
