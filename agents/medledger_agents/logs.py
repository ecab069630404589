"""The log of an agent: events with a name and a few plain fields, as text or JSON, on standard error.

Rules:

- Nothing of a message's content is ever a field: an event names a message by the start of its SHA-256, which leads to
  it in the box's own inbox and tells nobody else anything.
- An unforeseen exception is logged by its type and place. Its text may quote what it choked on.
- `journal` puts a line's priority before it, as `<4>`, which journald takes off and keeps (sd-daemon(3)); the time it
  knows itself. That needs no socket and no library, and a box without journald loses nothing by it. Fields are part of
  the line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from .config import LogSection

LOGGER: Final = logging.getLogger("medledger_agents")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))


def start(section: LogSection) -> None:
    """Send this process's log to standard error. Nothing is written before this is called."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter({"json": _Json, "journal": _Journal, "plain": _Plain}[section.format]())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    level = _LEVELS[section.level]
    LOGGER.setLevel(level)
    logging.getLogger("medledger").setLevel(level)


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log that something happened."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, name, extra={"fields": fields})


def warning(name: str, **fields: object) -> None:
    """Log something that an operator should look at."""
    event(name, level=logging.WARNING, **fields)


def unforeseen(where: str, error: BaseException) -> None:
    """Log a fault of this program without quoting anything."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
    event("internal error", level=logging.ERROR, where=where, kind=type(error).__name__, place=place)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = dict(getattr(record, "fields", {}))
    if record.exc_info and record.exc_info[0] is not None:
        fields["exception"] = record.exc_info[0].__name__
    return fields


def _line(record: logging.LogRecord) -> str:
    fields = " ".join(f"{name}={_shown(value)}" for name, value in _fields(record).items() if value is not None)
    return f"{record.getMessage()} {fields}".rstrip()


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_moment(record)} {record.levelname:<7} {_line(record)}"


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = next(priority for level, priority in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{' '.join(_line(record).splitlines())}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _moment(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**line, **_fields(record)}, default=str)


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text) if " " in text or '"' in text or not text.isprintable() else text
