"""Files that appear whole or not at all, and hashes of their contents."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 with `\\n` line ends; makes the folder; replaces atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; NaN is an error, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(raw: bytes) -> str:
    """Hexadecimal SHA-256 of `raw`."""
    return hashlib.sha256(raw).hexdigest()
