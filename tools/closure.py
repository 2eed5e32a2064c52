"""What a script imports, directly or not, read from the syntax trees: nothing is run."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ".j2"


def closure(script: Path, root: Path = ROOT) -> list[str]:
    """The project's files that `script` depends on, itself included.

    Imports count at any depth of nesting, and so do the templates that a module names. `__init__.py` files
    are left out: they hold a docstring only.

    Args:
        script: a Python file.
        root: the project's folder, from which its packages are imported.

    Returns:
        Paths relative to `root`, sorted.

    Raises:
        ValueError: a relative import, or a template that does not stand beside the module that names it.
    """
    seen: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.suffix == ".py":
            todo += [root / name for name in _files(path, root)]
    return sorted(path.relative_to(root).as_posix() for path in seen)


def imports(path: Path) -> set[str]:
    """Every dotted name that a module imports: `a.b` and `a` for `from a import b`, which may be either.

    Raises:
        ValueError: a relative import.
    """
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative imports are not used here")
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def _files(path: Path, root: Path) -> set[str]:
    """The project's files that a module imports or names."""
    modules = {f"{name.replace('.', '/')}.py" for name in imports(path)}
    return {name for name in modules if (root / name).is_file()} | _templates(path, root)


def _templates(path: Path, root: Path) -> set[str]:
    named = {
        node.value
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.endswith(TEMPLATE)
    }
    for name in named:
        if not (path.parent / name).is_file():
            raise ValueError(f"{path}: {name}: no such template beside it")
    return {(path.parent / name).relative_to(root).as_posix() for name in named}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
