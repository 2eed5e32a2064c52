"""Tests of what a script imports."""

from pathlib import Path

import pytest

from tools.closure import closure, imports


def test_the_closure_follows_imports_at_any_depth(
    tmp_path: Path,
) -> None:
    sources = {
        "stages/one.py": "import os\nfrom lib import plain\n",
        "lib/__init__.py": '"""A library."""\n',
        "lib/plain.py": "import lib.dotted\n",
        "lib/dotted.py": "def f():\n    if True:\n        from lib.lazy import g\n        g()\n",
        "lib/lazy.py": "from lib import plain\ndef g():\n    import lib.deep.lazier\n",
        "lib/deep/lazier.py": "class A:\n    from lib.deep import last as x\n",
        "lib/deep/last.py": "",
        "lib/other.py": "from lib import unused\n",
    }
    for name, source in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    assert closure(tmp_path / "stages" / "one.py", tmp_path) == [
        "lib/deep/last.py",
        "lib/deep/lazier.py",
        "lib/dotted.py",
        "lib/lazy.py",
        "lib/plain.py",
        "stages/one.py",
    ]


def test_a_template_counts_and_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text('NAME = "page.html.j2"\n')
    with pytest.raises(ValueError, match=r"page\.html\.j2: no such template beside it"):
        closure(tmp_path / "page.py", tmp_path)
    (tmp_path / "page.html.j2").touch()
    assert closure(tmp_path / "page.py", tmp_path) == ["page.html.j2", "page.py"]


def test_a_relative_import_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from . import two\n")
    with pytest.raises(ValueError, match="relative imports are not used here"):
        imports(tmp_path / "one.py")
