"""Logs: a constant message plus fields; one JSON object a line in pods, text for people.

Fields are given as `extra={"request": ...}`; names that `logging` itself uses are refused by it.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields, and a traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record; values that JSON has no word for are written as their `str`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO  tridentserve.router  message field=value` for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Render a record on one line, a traceback below."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        line = f"{time} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(log_format: str, level: str = "INFO", stream: IO[str] | None = None) -> None:
    """Send all logs of this process to `stream` (standard error), in `json` or `text`.

    Raises:
        ValueError: another format.
    """
    formatters = {"json": JsonFormatter, "text": TextFormatter}
    if log_format not in formatters:
        raise ValueError(f"log format {log_format!r}; use json or text")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatters[log_format]())
    logging.basicConfig(level=level, handlers=[handler], force=True)
