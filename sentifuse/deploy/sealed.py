"""JSON that holds the SHA-256 of itself: a changed bit is noticed."""

import json
from typing import Any

from sentifuse.runtime.files import sha256


def seal(config: dict[str, Any]) -> str:
    """The config as JSON with the SHA-256 of itself, which is computed while that field is empty."""
    blank = json.dumps({"sha256": "", **config}, indent=2, ensure_ascii=False, allow_nan=False)
    return blank.replace('"sha256": ""', f'"sha256": "{sha256(blank.encode())}"', 1) + "\n"


def unseal(raw: bytes) -> dict[str, Any] | None:
    """The config that `seal` wrote; None if anything but its line ends has changed."""
    try:
        config: dict[str, Any] = json.loads(raw)
        del config["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    # Git may have changed the line ends on Windows, which changes no value.
    return config if seal(config).encode() == raw.replace(b"\r\n", b"\n") else None
