"""The layers of the project: which package may import which, at whatever depth the import stands."""

import pytest

from tests.places import ROOT
from tools.closure import imports

# An import points to the same package or to one that stands before it in this list.
LAYERS = (
    "errors", "config", "runtime", "data", "encoders", "features", "models", "metrics", "training",
    "evaluation", "deploy", "experiments", "cli",
)  # fmt: skip


def layer(name: str) -> str:
    """`sentifuse.models.fusion` -> `models`."""
    return f"{name}.".split(".")[1]


def test_every_package_is_a_layer() -> None:
    package = ROOT / "sentifuse"
    found = {path.parent.name for path in package.glob("*/__init__.py")} | {"errors"}
    assert found == set(LAYERS)


@pytest.mark.parametrize("here", LAYERS)
def test_an_import_points_upwards_only(here: str) -> None:
    package = ROOT / "sentifuse"
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (*package.glob(f"{here}.py"), *package.glob(f"{here}/**/*.py"))
        for name in imports(path)
        if name.startswith("sentifuse.") and layer(name) not in LAYERS[: LAYERS.index(here) + 1]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["benchmarks", "demo", "docs", "sentifuse", "stages", "tools"])
def test_only_tests_import_tests(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imports(path)
        if name.partition(".")[0] == "tests"
    ]
    assert wrong == []
