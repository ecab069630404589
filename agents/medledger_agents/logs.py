"""The log of an agent: events with a name and a few plain fields, as text or JSON, on standard error.

Rules:

- Nothing of a message's content is ever a field: an event names a message by the start of the hash that the ledger has
  of it, which leads to it in the box's own inbox and tells nobody else anything.
- An unforeseen exception is logged by its type and place. Its text may quote what it choked on.
- `journal` puts a line's priority before it, as `<4>`, which journald takes off and keeps (sd-daemon(3)); the time it
  knows itself. That needs no socket and no library, and a box without journald loses nothing by it. Fields are part of
  the line.
- One event is one line, whatever is in it: line ends and what a terminal would take for an order are escaped.
- Of events with one name `BURST` a minute are written: who sends nonsense a thousand times a second must not fill the
  disk, nor push what matters out of journald's own limit. The rest is counted (`log_held_back` in meters.py), and the
  next line of that name says how many there were. Nothing is held back at level debug.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Final

from .config import LogSection
from .meters import METERS

LOGGER: Final = logging.getLogger("medledger_agents")
BURST: Final = 30
MINUTE_SECONDS: Final = 60.0
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


class Throttle:
    """Which of many lines of one name are written. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[str, tuple[float, int]] = {}  # when a name's minute began, and its lines since

    def passes(self, name: str, now: float) -> int | None:
        """None to hold it back; else how many were held back before it. `now` is monotonic seconds."""
        with self._lock:
            since, lines = self._since.get(name, (now, 0))
            held = 0
            if now - since >= MINUTE_SECONDS:
                since, lines, held = now, 0, max(0, lines - BURST)
            self._since[name] = since, lines + 1
            return held if lines < BURST else None


_THROTTLE: Final = Throttle()


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log that something happened."""
    if not LOGGER.isEnabledFor(level):
        return
    if not LOGGER.isEnabledFor(logging.DEBUG):
        held = _THROTTLE.passes(name, time.monotonic())
        if held is None:
            METERS.count("log_held_back")
            return
        if held:
            fields["held_back"] = held
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
    return f"{_escaped(record.getMessage())} {fields}".rstrip()


def _escaped(text: str) -> str:
    """A library's sentence on one line: some are put together of what it met."""
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"{_moment(record)} {record.levelname:<7} {_line(record)}"


class _Journal(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        priority = next(priority for level, priority in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{_line(record)}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _moment(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**line, **_fields(record)}, default=str)


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or " " in text or '"' in text or not text.isprintable() else text
