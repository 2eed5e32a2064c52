"""The import closure of a stage, read from the syntax trees: nothing is imported."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ".j2"


def closure(script: Path) -> list[str]:
    """The project's files that `script` imports, itself included, directly or not, at any depth of
    nesting, and the templates that these name; `__init__.py` files are left out: they hold a
    docstring only."""
    seen: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.suffix == ".py":
            todo += [ROOT / name for name in _imports(path)]
    return sorted(path.relative_to(ROOT).as_posix() for path in seen)


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Constant) and str(node.value).endswith(TEMPLATE):
            template = path.parent / str(node.value)
            assert template.is_file(), f"{path}: {node.value}: no such template beside it"
            found.add(template.relative_to(ROOT).as_posix())
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used here"
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        for name in names:
            file = name.replace(".", "/") + ".py"
            if (ROOT / file).is_file():
                found.add(file)
    return found
