"""The token that requests have to bring: from a file or the environment, never from the command line."""

import os
import re
from pathlib import Path

from sentifuse.errors import UserError

VARIABLE = "SENTIFUSE_TOKEN"
# What a header can carry: https://datatracker.ietf.org/doc/html/rfc6750#section-2.1
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def read(file: Path | None) -> str | None:
    """The token of `file`, else of the environment; None if neither is given.

    Raises:
        UserError: both are given; it cannot be read, others may read the file, or it is no token.
    """
    if file is None:
        given = os.environ.get(VARIABLE)
        return None if given is None else _checked(VARIABLE, given)
    if VARIABLE in os.environ:
        raise UserError(f"--token-file {file}: {VARIABLE} is set, too: keep one of them")
    try:
        mode, text = file.stat().st_mode, file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"--token-file {file}: {error.strerror}") from None
    if os.name == "posix" and mode & 0o027:
        raise UserError(
            f"--token-file {file}: mode {mode & 0o777:o}: others may read or change it: run "
            f"`chmod 600 {file}`"
        )
    return _checked(f"--token-file {file}", text)


def _checked(name: str, text: str) -> str:
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        what = "empty" if not token else "not a token"  # which is not told: it may be one, mistyped
        raise UserError(
            f"{name}: {what}: expected letters, digits and -._~+/, such as `openssl rand -hex 32` gives"
        )
    return token
