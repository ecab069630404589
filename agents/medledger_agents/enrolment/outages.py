"""Why the broker does not take us, for the person in front of setup.

The connection tells its log, once for each outage. A library's log that nobody handles Python prints raw; here it
becomes a warning like any other. What else the log says comes through callbacks, and would be said twice.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from medledger.cli.output import printable, warn
from medledger.transport import connection


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.pathname == connection.__file__:
            if sys.stderr.isatty():
                click.echo("\r\x1b[K", err=True, nl=False)  # a line that shows what goes on may stand there
            warn(f"{printable(record.getMessage())}.")


@contextmanager
def told() -> Iterator[None]:
    """Say outages as warnings, and nothing else of the log."""
    handler, log = _Warnings(logging.WARNING), logging.getLogger("medledger")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
