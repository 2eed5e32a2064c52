"""The log of the server on stderr, a line each: JSON for programs, or text for people."""

import json
import logging
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["json", "text"]


def set_up(kind: Kind) -> None:
    """Lets this process log to stderr, uvicorn's messages included; for entry points only."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if kind == "json" else Text())
    for name in ("uvicorn", "sentifuse.serve"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)


class Json(logging.Formatter):
    """An object: the time (UTC) and level, and what is known of a request, or else a message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an exception with its traceback as one string."""
        told: dict[str, Any] = {"time": _time(record), "level": record.levelname.lower()}
        request: dict[str, Any] | None = getattr(record, "request", None)
        told |= {"message": record.getMessage()} if request is None else request
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


class Text(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; of an exception followed by its traceback."""
        request: dict[str, Any] | None = getattr(record, "request", None)
        if request is None:
            line = f"{_time(record)} {record.levelname.lower()}: {record.getMessage()}"
        else:
            batch = "" if request["batch"] is None else f" batch of {request['batch']}"
            line = (
                f"{_time(record)} {request['status']} {request['method']} {_quoted(request['path'])} "
                f"{request['milliseconds']} ms {request['bytes_in']} B in {request['bytes_out']} B out"
                f"{batch} {request['id']}"
            )
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def _quoted(path: str) -> str:
    """A path with line ends and other control characters as escapes: it stays on its line."""
    return json.dumps(path)[1:-1]
