"""Writes what each stage depends on into `dvc.yaml`, and the pinned versions into `pins.yaml`.

    python -m tools.dependencies            # `make deps`
    python -m tools.dependencies --check    # writes nothing; exit status 1 if something is not up to date

A stage depends on just the files of code that it imports, directly or not, and on the versions of the
libraries that these import. Both stand in lists of `dvc.yaml` between two marks, several to a line, so that
whoever reads the file sees the chain first; the rest is written by hand.
"""

import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from sentifuse.runtime import pins
from tools.closure import ROOT, closure, imports

_WIDTH = 118
CODE, LIBRARIES, END = "# code: make deps", "# libraries: make deps", "# end"

# Of the requirements, those that no byte of a result comes from: they read params and draw progress.
_WITHOUT_EFFECT = {"dvc", "pydantic", "pyyaml", "ruamel.yaml.clib", "tqdm", "vl-convert-python"}
# A library -> what it leaves the work to.
_THROUGH = {
    "transformers": ["tokenizers"],
    "scikit-learn": ["scipy"],
    "imagehash": ["scipy"],
    "rapidocr": ["opencv-python-headless"],
}


def main(arguments: Sequence[str]) -> int:
    """Writes or checks both files; gives the exit status."""
    made = {"dvc.yaml": pipeline(ROOT), pins.FILE.name: pinned(ROOT)}
    old = {name: text for name, text in made.items() if _text(ROOT / name) != text}
    if "--check" in arguments:
        for name in old:
            print(f"{name}: not up to date: run `make deps`", file=sys.stderr)
        return int(bool(old))
    for name, text in old.items():
        (ROOT / name).write_text(text, encoding="utf-8")
        print(f"{name}: written")
    return 0


def pipeline(root: Path) -> str:
    """The text of `dvc.yaml` with both lists of every stage as they have to be.

    Raises:
        ValueError: a mark without its end.
    """
    versions = _versions(root)
    lines: list[str] = []
    stage, skipped = "", False
    for line in _text(root / "dvc.yaml").splitlines():
        mark = line.strip()
        if skipped and mark != END:
            if mark in (CODE, LIBRARIES):
                raise ValueError(f"dvc.yaml: {stage}: {mark!r} before the {END!r} of the one above")
            continue
        skipped = mark in (CODE, LIBRARIES)
        lines.append(line)
        if found := re.fullmatch(r"  (\w+):", line):
            stage = found[1]
        if skipped:
            code = closure(root / "stages" / f"{stage}.py", root)
            entries = code if mark == CODE else libraries(code, versions, root)
            indent = line[: line.index("#")]
            lines += textwrap.wrap(
                " ".join(f"{entry}," for entry in entries),
                width=_WIDTH,
                initial_indent=indent,
                subsequent_indent=indent,
                break_on_hyphens=False,
                break_long_words=False,
            )
    if skipped:
        raise ValueError(f"dvc.yaml: {stage}: no {END!r} at its end")
    return "\n".join(lines) + "\n"


def pinned(root: Path) -> str:
    """The text of `pins.yaml`."""
    head = "# Written by `make deps` from the requirements: what results depend on. The stages list theirs.\n"
    return head + "".join(f'{name}: "{version}"\n' for name, version in _versions(root).items())


def libraries(code: Sequence[str], versions: dict[str, str], root: Path) -> list[str]:
    """Those of `versions` that files of code import, sorted."""
    found = {
        name.partition(".")[0]
        for path in code
        if path.endswith(".py")
        for name in imports(root / path)
    }
    direct = {name for name in versions if pins.module(name) in found}
    return sorted(direct | {other for name in direct for other in _THROUGH.get(name, [])})


def _versions(root: Path) -> dict[str, str]:
    """Library -> version: what results come from, the reader of pictures included, and what does its work."""
    wanted = _pins(root / "requirements.txt") | _pins(root / "requirements-ocr.txt")
    all_pins = _pins(root / "constraints.txt") | wanted
    names = set(wanted) - _WITHOUT_EFFECT
    names |= {other for name in names for other in _THROUGH.get(name, [])}
    return {name: all_pins[name] for name in sorted(names)}


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==(\S+)\s*$", _text(path), re.MULTILINE))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
